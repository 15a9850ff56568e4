"""The one estimate of how long a request may take."""

from __future__ import annotations

from whisper.wire.deadlines import REMEMBERED, SHORTEST_SECONDS, Deadlines


def test_the_slowest_of_late_decides_and_before_it_the_kind() -> None:
    deadlines = Deadlines({"transcribe": 1200.0, "detect": 600.0})
    assert (deadlines.of("transcribe", threads=1), deadlines.of("transcribe", threads=8)) == (1200, 1200)
    deadlines.note("transcribe", 60.0, threads=1)
    deadlines.note("transcribe", 3.0, threads=1)
    assert deadlines.of("transcribe", threads=1) == 600, "ten times the slowest, and one fast chunk undoes nothing"
    assert deadlines.of("detect", threads=1) == 600, "what was never measured keeps what its kind says"
    for _ in range(REMEMBERED):
        deadlines.note("transcribe", 3.0, threads=1)
    assert deadlines.of("transcribe", threads=1) == 30, "one bad hour is forgotten"


def test_time_is_that_of_one_core() -> None:
    """The first chunk of a quiet machine has all cores, and the next ones one each."""
    deadlines = Deadlines({"transcribe": 1200.0})
    deadlines.note("transcribe", 10.0, threads=8)
    assert (deadlines.of("transcribe", threads=1), deadlines.of("transcribe", threads=8)) == (800, 100)


def test_the_shortest_chunk_gets_time_to_be_slow_once() -> None:
    deadlines = Deadlines({"transcribe": 1200.0})
    deadlines.note("transcribe", 0.01, threads=1)
    assert deadlines.of("transcribe", threads=4) == SHORTEST_SECONDS
