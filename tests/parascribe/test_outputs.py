from __future__ import annotations

from pathlib import Path

import pytest

from core.transcript.formats import FileFormat
from parascribe.screen.outputs import OutputError, Outputs
from parascribe.screen.render import clock, duration, size, timed_lines


def test_a_failed_fetch_leaves_the_old_file_whole(tmp_path: Path) -> None:
    old = tmp_path / "talk.srt"
    old.write_text("old")
    outputs = Outputs.plan([tmp_path / "talk.mp3"], ["srt"], str(tmp_path))

    def fetch(_: FileFormat) -> str:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        outputs.deliver(tmp_path / "talk.mp3", fetch)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("talk.srt", "old")]


def test_names_that_cannot_be_told_apart_are_refused_before_any_work(tmp_path: Path) -> None:
    files = [tmp_path / "monday" / "talk.mp3", tmp_path / "tuesday" / "talk.mp3"]
    with pytest.raises(OutputError, match="same name"):
        Outputs.plan(files, [], str(tmp_path))
    beside = Outputs.plan(files, [], None).targets
    assert beside is not None
    assert [path for pairs in beside.values() for _, path in pairs] == [file.with_suffix(".txt") for file in files]


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    media = tmp_path / ("\u00e9" * 125 + "a.mp3")
    assert len(media.with_suffix(".srt").name.encode()) == 255
    assert Outputs.plan([media], ["srt"], str(tmp_path)).deliver(media, lambda _: "new") == [media.with_suffix(".srt")]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_a_name_with_a_format_is_a_file_or_refused(tmp_path: Path) -> None:
    media = tmp_path / "talk.mp3"
    named = str(tmp_path / "here.srt")
    assert Outputs.plan([media], [], named).targets == {media: (("srt", Path(named)),)}
    for files, formats in (([media], ["vtt"]), ([media], ["srt", "vtt"]), ([media, tmp_path / "b.mp3"], [])):
        with pytest.raises(OutputError, match="one srt file"):
            Outputs.plan(files, formats, named)
    with pytest.raises(OutputError, match="media file itself"):
        Outputs.plan([tmp_path / "talk.txt"], [], str(tmp_path / "talk.txt"))
    folder = {media: (("txt", tmp_path / "here.srt" / "talk.txt"),)}
    assert Outputs.plan([media], [], named + "/").targets == folder
    Path(named).mkdir()
    assert Outputs.plan([media], [], named).targets == folder


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="takes a folder"):
        Outputs.plan([Path("a.mp3")], [], str(tmp_path / "taken"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("out.docx", "no format docx"),
        ("out.srtt", "mean .srt"),
        ("out.TEXT", "mean .txt"),
        ("a.b/out.pdf", "no format pdf"),
    ],
)
def test_a_format_that_there_is_none_of_is_refused_and_no_folder(tmp_path: Path, name: str, hint: str) -> None:
    output = str(tmp_path / name)
    with pytest.raises(OutputError, match=hint):
        Outputs.plan([tmp_path / "talk.mp3"], [], output)
    assert Outputs.plan([tmp_path / "talk.mp3"], [], output + "/").targets
    Path(output).mkdir(parents=True)
    assert Outputs.plan([tmp_path / "talk.mp3"], [], output).targets


@pytest.mark.parametrize("name", ["2026.11.28", "v1.2", "my.transcripts", ".hidden"])
def test_a_folder_may_have_a_dot_in_its_name(tmp_path: Path, name: str) -> None:
    assert Outputs.plan([tmp_path / "talk.mp3"], [], str(tmp_path / name)).targets == {
        tmp_path / "talk.mp3": (("txt", tmp_path / name / "talk.txt"),)
    }


def test_a_format_may_be_in_capitals(tmp_path: Path) -> None:
    media = tmp_path / "talk.mp3"
    assert Outputs.plan([media], [], str(tmp_path / "HERE.SRT")).targets == {media: (("srt", tmp_path / "HERE.SRT"),)}


@pytest.mark.parametrize("output", ["taken/here.srt", "taken/x/y", "taken/", ""])
def test_a_place_where_nothing_can_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(OutputError):
        Outputs.plan([Path("talk.mp3")], [], output)


def test_numbers_for_people() -> None:
    assert [clock(value) for value in (0, 59.96, 599.94, 3599.99, 36_000)] == [
        "00:00.0",
        "01:00.0",
        "09:59.9",
        "1:00:00.0",
        "10:00:00.0",
    ]
    assert [duration(value) for value in (0.04, 59.96, 200, 7500)] == [
        "0.0 s",
        "1 min 00 s",
        "3 min 20 s",
        "2 h 05 min",
    ]
    assert [size(value) for value in (0, 999, 1000, 999_960, 2.5e9)] == ["0 B", "999 B", "1.0 kB", "1.0 MB", "2.5 GB"]


def test_lines_with_times_say_who_speaks_where_that_is_known() -> None:
    segments = [{"start": 0.0, "end": 1.0, "text": " Hello.", "speaker": "SPEAKER_00"}]
    segments.append({"start": 1.0, "end": 2.0, "text": "Mm.", "speaker": None})
    result = {"segments": segments, "speakers": [{"id": "SPEAKER_00", "name": "Anna\nB.", "seconds": 1.0}]}
    assert timed_lines(result) == "[00:00.0 -> 00:01.0] Anna B.: Hello.\n[00:01.0 -> 00:02.0] Mm.\n"
    older = {"segments": [{"start": 0.0, "end": 1.0, "text": "Hello."}]}
    assert timed_lines(older) == timed_lines(older | {"speakers": None}) == "[00:00.0 -> 00:01.0] Hello.\n"
