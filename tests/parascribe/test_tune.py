"""`parascribe tune` and `parascribe models quantize`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import psutil
import pytest

from core.config.loading import load
from core.errors import ServiceError, ValidationFailed
from parascribe.cli import main
from parascribe.cli.commands.machine.models import Kind
from parascribe.tools.dotenv import write_settings
from parascribe.tools.quantised import different_words
from parascribe.tools.tuning import Measured, Split, Tuning, choose, splits, tune
from whisper.workshop.quantize import KINDS

pytestmark = pytest.mark.usefixtures("own_folder")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def one_core() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def pairs(found: list[Split]) -> list[tuple[int, int]]:
    return [(split.workers, split.threads) for split in found]


def figures(workers: int, threads: int, speed: float, *, alone: float = 1.0, memory: float = 100.0) -> Measured:
    return Measured(split=Split(workers=workers, threads=threads), speed=speed, alone=alone, memory_mb=memory)


def test_every_way_to_use_all_cores_is_tried_and_one_that_wants_more() -> None:
    assert pairs(splits(1, 1)) == [(1, 1), (1, 2)]
    assert pairs(splits(2, 2)) == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert pairs(splits(8, 8)) == [(1, 1), (8, 1), (4, 2), (2, 4), (1, 8), (4, 1), (8, 2)]
    assert pairs(splits(8, 3)) == [(1, 1), (3, 2), (2, 4), (1, 8), (3, 1), (3, 4)]  # memory for three


def test_the_choice() -> None:
    serial, wide, threaded, crowded = (
        figures(1, 1, 10),
        figures(2, 1, 19),
        figures(1, 2, 17, alone=0.6),
        figures(2, 2, 25, alone=0.5),
    )
    found = choose([serial, wide, threaded, crowded], cores=2)
    assert (found.throughput, found.latency) == (wide, threaded), "more threads than cores are for comparison only"
    lean = figures(1, 2, 18.9, alone=0.6, memory=60)
    assert choose([serial, wide, lean], cores=2).throughput is lean, "as good as equal, and it takes less memory"
    assert choose([serial, wide, threaded, figures(4, 1, 30, alone=0.59)], cores=4).latency.split.workers == 4


def test_efficiency_is_judged_by_the_cores_there_are() -> None:
    found = Tuning(
        model="m",
        library="own",
        cores=2,
        load=0.0,
        skipped=(),
        measured=(figures(1, 1, 10), figures(2, 1, 19), figures(2, 2, 18)),
    )
    assert [found.efficiency(one) for one in found.measured] == [1.0, 0.95, 0.9]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A=2\nB=1\n"),
        ("# A=0\nX=a b # c", "# A=0\nX=a b # c\nA=2\nB=1\n"),
        ("B=9\n\nAB=3\nexport a = 7\nX=1\n", "B=1\n\nAB=3\na=2\nX=1\n"),
        ("A=1\na=3\n", "A=2\na=2\nB=1\n"),
        ("A=1\nA=3\n", "A=2\nA=2\nB=1\n"),  # the last one counts
    ],
)
def test_only_the_lines_in_question_change(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / ".env"
    file.write_text(before)
    for _ in range(2):
        write_settings(file, {"A": 2, "B": 1})
        assert file.read_text() == after


def test_the_file_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "secrets", tmp_path / ".env"
    real.write_bytes(b"KEY=\xff\n")
    real.chmod(0o640)
    link.symlink_to(real)
    write_settings(link, {"A": 1})
    assert link.is_symlink()
    assert (real.read_bytes(), real.stat().st_mode & 0o777) == (b"KEY=\xff\nA=1\n", 0o640)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "secrets"]
    with pytest.raises(ServiceError, match="cannot be written"):
        write_settings(tmp_path / "none" / ".env", {"A": 1})


def test_a_core_is_measured_and_the_best_written(tmp_path: Path, one_core: None, capsys: Capture) -> None:
    (tmp_path / ".env").write_text("WHISPER_THREADS=4\nLOG_LEVEL=ERROR\n")
    assert main(["tune", "--model", "demo", "--seconds", "15", "--write", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    first = found["measured"][0]
    assert (first["workers"], first["threads"], first["efficiency"], found["cores"], found["complete"]) == (
        1,
        1,
        1.0,
        1,
        True,
    )
    assert 1 < first["audio_seconds_per_second"] < 1000
    assert 0.02 < first["audio_seconds_per_second"] * first["one_chunk_seconds"] / 28 < 3, (
        "one worker: both tell the same"
    )
    assert 30 < first["memory_mb"] < 300
    assert found["throughput"] == {"workers": 1, "threads": 1}
    assert found["written"] == str(tmp_path / ".env")
    assert (tmp_path / ".env").read_text() == "WHISPER_THREADS=1\nLOG_LEVEL=ERROR\nMAX_PARALLEL_WORKERS=1\n"
    assert (load().max_parallel_workers, load().whisper_threads) == (1, 1)
    assert "MAX_PARALLEL_WORKERS=1 WHISPER_THREADS=1" in err


def test_too_little_time_is_told_and_nothing_goes_on_running() -> None:
    before = psutil.Process().children(recursive=True)
    with pytest.raises(ValidationFailed, match="--seconds"):
        tune(load(), "demo", seconds=0.1)
    assert set(psutil.Process().children(recursive=True)) <= set(before)
    with pytest.raises(ValidationFailed, match="WHISPER_EXECUTABLE"):
        tune(load(whisper_executable=Path("whisper-cli")), "demo", seconds=5)


def test_a_model_is_quantised_measured_and_ready_for_use(tmp_path: Path, capsys: Capture) -> None:
    assert get_args(Kind) == tuple(KINDS)
    assert main(["models", "quantize", "demo", "q8_0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    source, copy = found["source"], found["copy"]
    assert (source["name"], copy["name"]) == ("demo", "local:demo-q8_0-own")
    assert (found["words"], found["different_words"], copy["text"]) == (71, 0, source["text"])
    assert (copy["bytes"], source["bytes"]) == (10_803_593, 18_747_713)
    assert found["speed_up"] == pytest.approx(source["cpu_seconds"] / copy["cpu_seconds"], rel=0.05)
    assert main(["models", "verify", copy["name"]]) == 0
    assert main(["models", "quantize", copy["name"], "q4_0"]) == 1
    assert main(["models", "quantize", "base", "q4_0"]) == 1
    assert main(["models", "quantize", "demo", "q3"]) == 2
    err = capsys.readouterr().err
    assert "quantised already" in err and "base is not here" in err


def test_words_that_differ_are_counted() -> None:
    assert different_words("one two three", "one two three") == 0
    assert different_words("one two three", "one 2 three four") == 2
    assert different_words("", "one two") == 2
