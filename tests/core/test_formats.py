from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.notices import Notice
from core.transcript.formats import FORMATS, RESULT_VERSION, FileFormat, FormatName, from_result, to_result
from core.transcript.values import Gap, Language, Segment, Transcript, Word

WORDS = (
    Word(word="Anna", start=0.5, end=0.9, probability=0.98),
    Word(word="37", start=None, end=None, probability=None),
    Word(word="says", start=1.2, end=1.5, probability=0.5),
)
TRANSCRIPT = Transcript(
    segments=(
        Segment(
            start=0.5,
            end=1.5,
            text="Anna 37 says",
            avg_logprob=-0.25,
            no_speech_prob=0.01,
            compression_ratio=0.8,
            words=WORDS,
            language="de",
        ),
        Segment(start=61.25, end=61.25, text='a ----> b <i> & "c", d\nnew\tline', flags=("low_confidence",)),
        Segment(start=362_000, end=362_001.5, text="Grüße"),
    ),
    language=Language(code="de", confidence=0.97),
    duration=362_010.2,
    model="base",
    gaps=(Gap(start=70, end=80.5, reason="no_text"),),
    warnings=(Notice(code="no_speech", message="…"),),
    performance={"wall": 12.5, "parallel": True},
    provenance={"library": "wheel", "chunks": 3},
)

EXPECTED = {
    "txt": 'Anna 37 says\na ----> b <i> & "c", d new line\nGrüße\n',
    "srt": """1
00:00:00,500 --> 00:00:01,500
Anna 37 says

2
00:01:01,250 --> 00:01:02,083
a -> b <i> & "c", d new line

3
100:33:20,000 --> 100:33:21,500
Grüße

""",
    "vtt": """WEBVTT

00:00:00.500 --> 00:00:01.500
Anna 37 says

00:01:01.250 --> 00:01:02.083
a -> b &lt;i> &amp; "c", d new line

100:33:20.000 --> 100:33:21.500
Grüße
""",
    "tsv": 'start\tend\ttext\n500\t1500\tAnna 37 says\n61250\t61251\ta ----> b <i> & "c", d new line\n362000000\t362001500\tGrüße\n',
    "csv": "start,end,text\r\n0.500,1.500,Anna 37 says\r\n"
    '61.250,61.251,"a ----> b <i> & ""c"", d new line"\r\n362000.000,362001.500,Grüße\r\n',
    "lrc": '[00:00.50]Anna 37 says\n[01:01.25]a ----> b <i> & "c", d new line\n[6033:20.00]Grüße\n',
}


@pytest.mark.parametrize("name", EXPECTED)
def test_plain_formats(name: str) -> None:
    assert FORMATS[name].render(TRANSCRIPT) == EXPECTED[name]


def test_json_has_the_fields_of_the_contract_and_words_only_when_asked_for() -> None:
    body = json.loads(FORMATS["json"].render(TRANSCRIPT))
    assert list(body) == "text language duration model segments gaps warnings performance provenance".split()
    assert body["language"] == {"code": "de", "confidence": 0.97}
    assert body["segments"][0] == {
        "id": 0,
        "start": 0.5,
        "end": 1.5,
        "text": "Anna 37 says",
        "avg_logprob": -0.25,
        "no_speech_prob": 0.01,
        "compression_ratio": 0.8,
        "flags": [],
        "language": "de",
    }
    assert body["gaps"] == [{"start": 70, "end": 80.5, "reason": "no_text"}]
    assert body["warnings"] == [{"code": "no_speech", "message": "…"}]
    asked = json.loads(FORMATS["json"].render(replace(TRANSCRIPT, word_timestamps=True)))
    assert asked["segments"][0]["words"][1] == {"word": "37", "start": None, "end": None, "probability": None}
    assert asked["segments"][2]["words"] == []


def test_verbose_json_is_what_openai_clients_parse() -> None:
    body = json.loads(FORMATS["verbose_json"].render(replace(TRANSCRIPT, word_timestamps=True)))
    assert list(body) == "task language duration text segments words usage".split()
    assert (body["task"], body["language"]) == ("transcribe", "german")
    keys = "id seek start end text tokens temperature avg_logprob compression_ratio no_speech_prob".split()
    assert all(list(s) == keys for s in body["segments"])
    assert body["segments"][0] == dict(
        zip(keys, [0, 50, 0.5, 1.5, "Anna 37 says", [], 0.0, -0.25, 0.8, 0.01], strict=True)
    )
    assert body["words"][1] == {"word": "37", "start": 0.9, "end": 1.2}
    assert body["usage"] == {"type": "duration", "seconds": 362_011}
    assert "words" not in json.loads(FORMATS["verbose_json"].render(TRANSCRIPT))


def test_an_empty_transcript_is_valid_in_every_format() -> None:
    empty = replace(TRANSCRIPT, segments=())
    texts = {name: f.render(empty) for name, f in FORMATS.items()}
    assert (texts["txt"], texts["srt"], texts["lrc"], texts["vtt"]) == ("", "", "", "WEBVTT\n")
    assert (texts["tsv"], texts["csv"]) == ("start\tend\ttext\n", "start,end,text\r\n")
    assert json.loads(texts["json"])["segments"] == json.loads(texts["verbose_json"])["segments"] == []


times = st.floats(0, 10**6)
segments = st.builds(
    Segment,
    start=times,
    end=times,
    text=st.text(),
    avg_logprob=st.none() | st.floats(-5, 0),
    flags=st.sampled_from([(), ("repetition", "no_speech_likely")]),
    words=st.lists(
        st.builds(Word, word=st.text(), start=st.none() | times, end=st.none() | times, probability=st.none())
    ).map(tuple),
)


@settings(deadline=None)
@given(st.lists(segments).map(tuple), st.sampled_from(["transcribe", "translate"]))
def test_stored_results_come_back_and_render_in_every_format(some: tuple[Segment, ...], task: str) -> None:
    transcript = replace(TRANSCRIPT, segments=some, task=task, word_timestamps=True)
    back = from_result(json.loads(json.dumps(to_result(transcript))))
    assert back == transcript
    for name, form in FORMATS.items():
        assert form.render(back) == form.render(transcript), name
    spoken = sum(bool(s.text.split()) for s in some)
    assert FORMATS["srt"].render(back).count(" --> ") == FORMATS["vtt"].render(back).count(" --> ") == spoken
    rows = list(csv.reader(io.StringIO(FORMATS["csv"].render(back), newline="")))
    assert [r[2] for r in rows[1:]] == [" ".join(s.text.split()) for s in some if s.text.split()]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        # without length: readable where there is room, over nothing else
        ([(1, 1), (5, 8)], [(1000, 1833), (5000, 8000)]),
        ([(1, 1), (1.5, 8)], [(667, 1500), (1500, 8000)]),  # the rest of its time from before it
        ([(0, 1), (2, 2), (2, 8)], [(0, 1000), (1167, 2000), (2000, 8000)]),
        ([(0, 5), (5, 5), (5, 8)], [(0, 4167), (4167, 5000), (5000, 8000)]),  # no room: taken from the one before
        ([(0, 0), (0, 8)], [(0, 833), (833, 8000)]),  # or from the one behind
        ([(0, 5), (5, 5), (5, 5), (5, 8)], [(0, 3334), (3334, 4167), (4167, 5000), (5000, 8000)]),
        ([(0, 0), (0, 0), (1, 8)], [(0, 500), (500, 1000), (1000, 8000)]),
        # never past the media's end
        ([(0, 5), (9.9, 9.9)], [(0, 5000), (9167, 10000)]),
        ([(0, 5), (10, 10)], [(0, 5000), (9167, 10000)]),
        ([(0, 10), (10, 10)], [(0, 9167), (9167, 10000)]),
        # short ones too
        ([(1, 1.3), (5, 8)], [(1000, 1833), (5000, 8000)]),
        ([(1, 1.3), (1.4, 8)], [(567, 1400), (1400, 8000)]),
        ([(0, 1), (1, 1.3), (1.3, 8)], [(0, 1000), (1000, 1300), (1300, 8000)]),
        # what is long enough stays as it is
        ([(0, 0.833), (0.9, 8)], [(0, 833), (900, 8000)]),
    ],
)
def test_subtitles_stay_for_as_long_as_one_reads(
    given: list[tuple[float, float]], shown: list[tuple[int, int]]
) -> None:
    spoken = tuple(Segment(start=start, end=end, text="x") for start, end in given)
    transcript = replace(TRANSCRIPT, segments=spoken, duration=10.0)
    for name, point in (("srt", ","), ("vtt", ".")):
        lines = re.findall(r"00:00:(\d\d.\d\d\d) --> 00:00:(\d\d.\d\d\d)", FORMATS[name].render(transcript))
        assert [tuple(int(time.replace(point, "")) for time in line) for line in lines] == shown
    rows = [tuple(map(int, row.split("\t")[:2])) for row in FORMATS["tsv"].render(transcript).splitlines()[1:]]
    assert all(
        abs(a - b * 1000) <= 2 for row, times in zip(rows, given, strict=True) for a, b in zip(row, times, strict=True)
    ), "data as it is"


@given(st.lists(st.integers(0, 30).map(lambda n: n * 100), max_size=24), st.integers(0, 2_000))
def test_no_cue_is_without_length_or_over_another(moments: list[int], rest: int) -> None:
    moments.sort()
    spoken = tuple(
        Segment(start=a / 1000, end=b / 1000, text="x") for a, b in zip(moments[::2], moments[1::2], strict=False)
    )
    duration = (moments[-1] if moments else 0) + rest + len(moments)  # room for a millisecond each
    transcript = replace(TRANSCRIPT, segments=spoken, duration=duration / 1000)
    for name in ("srt", "tsv"):
        times = [
            int(clock[-3:]) + 1000 * int(clock[-6:-4]) if name == "srt" else int(clock)
            for line in FORMATS[name].render(transcript).splitlines()
            if "-->" in line or "\t" in line and "text" not in line
            for clock in (line.split(" --> ") if name == "srt" else line.split("\t")[:2])
        ]
        assert len(times) == 2 * len(spoken)
        assert all(a < b for a, b in zip(times[::2], times[1::2], strict=True)), times
        assert all(a <= b for a, b in zip(times[1::2], times[2::2], strict=False)), times
        assert not times or times[-1] <= duration


def test_words_are_stored_and_shown_only_if_they_were_asked_for() -> None:
    stored = json.loads(json.dumps(to_result(TRANSCRIPT)))
    assert (stored["version"], stored["word_timestamps"]) == (RESULT_VERSION, False)
    assert stored["segments"][0]["words"]
    back = from_result(stored)
    assert back == TRANSCRIPT
    for shown in ("json", "verbose_json"):
        assert '"words"' not in FORMATS[shown].render(back)
        assert '"words"' in FORMATS[shown].render(replace(back, word_timestamps=True))


def test_results_of_other_versions_are_read() -> None:
    stored = to_result(TRANSCRIPT)
    older = {name: value for name, value in stored.items() if name != "version"}
    older["segments"] = [{name: value for name, value in s.items() if name != "words"} for s in stored["segments"]]
    without = replace(TRANSCRIPT, segments=tuple(replace(s, words=()) for s in TRANSCRIPT.segments))
    assert from_result(older) == without
    newer = stored | {"version": RESULT_VERSION + 1, "speakers": ["A"]}
    newer["segments"] = [
        s | {"speaker": "A", "words": [w | {"speaker": "A"} for w in s["words"]]} for s in stored["segments"]
    ]
    assert from_result(newer) == TRANSCRIPT


def test_the_list_of_formats_is_one() -> None:
    assert tuple(FORMATS) == get_args(FormatName)
    assert {FORMATS[name].extension for name in FORMATS} == set(get_args(FileFormat))


def test_names_and_media_types() -> None:
    assert list(FORMATS) == ["json", "verbose_json", "txt", "srt", "vtt", "tsv", "csv", "lrc"]
    assert FORMATS["vtt"].media_type == "text/vtt; charset=utf-8"
    assert FORMATS["verbose_json"].extension == "json"
