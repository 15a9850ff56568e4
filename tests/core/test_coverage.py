from __future__ import annotations

import pytest

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.chunks import Chunk
from core.transcript.coverage import audit, untold
from core.transcript.values import Gap, Segment

S = SAMPLE_RATE


def chunk(index: int, start: float, end: float, *regions: tuple[float, float]) -> Chunk:
    heard = tuple(Region(start=round(a * S), end=round(b * S)) for a, b in regions)
    return Chunk(index=index, start=round(start * S), end=round(end * S), regions=heard)


def text(*spans: tuple[float, float]) -> list[Segment]:
    return [Segment(start=a, end=b, text="word") for a, b in spans]


PLAN = [
    chunk(0, 0, 30, (1, 12), (14, 29.5)),
    chunk(1, 30, 60, (29.5, 50.5)),  # reaches into its neighbour by the overlap
    chunk(2, 60, 300, (70, 71.5)),
    chunk(3, 300, 900),
]
SPOKEN = text((1.2, 5), (5, 12), (15, 22), (24, 29.8), (30.2, 41), (43, 50), (70.2, 71))


def test_a_normal_transcript_has_no_gaps() -> None:
    found = audit(PLAN, SPOKEN, failed=(), duration=900.0)
    assert found.gaps == ()
    assert found.audio_seconds == 900
    assert found.speech_seconds == found.transcribed_seconds == 11 + 15.5 + 20.5 + 1.5


def test_failed_chunks_are_named_and_their_speech_is_not_transcribed() -> None:
    found = audit(PLAN, [s for s in SPOKEN if not 30 < s.start < 60], failed={1}, duration=900.0)
    assert found.gaps == (Gap(start=30, end=50.5, reason="chunk_failed"),)
    assert found.transcribed_seconds == pytest.approx(found.speech_seconds - 20.5)


def test_a_chunk_of_speech_without_text_is_a_gap_but_a_click_is_not() -> None:
    found = audit(PLAN, text((1, 29.5)), failed=(), duration=900.0)
    assert found.gaps == (
        Gap(start=30.3, end=50.2, reason="no_text"),
    )  # without its margins; chunk 2 has 0.9 s of speech in its own


def test_long_speech_between_two_segments_is_a_gap() -> None:
    found = audit(PLAN, [s for s in SPOKEN if s.start not in (5, 24)], failed=(), duration=900.0)
    assert found.gaps == (Gap(start=5, end=12, reason="no_text"), Gap(start=22, end=29.5, reason="no_text"))
    assert found.transcribed_seconds == pytest.approx(found.speech_seconds - 14.5)


def test_only_silence() -> None:
    found = audit([chunk(0, 0, 60)], [], failed=(), duration=60.0)
    assert (found.speech_seconds, found.transcribed_seconds, found.gaps) == (0, 0, ())


def detected(start: float, end: float, *speech: tuple[float, float]) -> Chunk:
    regions = (Region(start=round(start * S), end=round(end * S)),)
    return Chunk(
        index=0,
        start=round(start * S),
        end=round(end * S),
        regions=regions,
        speech=tuple(Region(start=round(a * S), end=round(b * S)) for a, b in speech),
    )


@pytest.mark.parametrize(
    ("speech", "texts", "left"),
    [
        ([(1, 12)], [(1, 9.5)], [(9.5, 12)]),  # the window ended early
        ([(1, 12)], [(1, 4), (6, 12)], [(4, 6)]),  # jumped over
        ([(1, 12)], [(3, 12)], [(1, 3)]),  # begun late
        ([(1, 12)], [], [(1, 12)]),
        ([(1, 12)], [(0.5, 11.2)], []),  # less than a second is the detector's and the model's difference
        ([(1, 1.6), (2.2, 2.8)], [], [(1, 2.8)]),  # 1.2 s of speech with a pause in it
        ([(1, 1.6), (4, 4.6)], [], []),  # two short sounds far apart
        ([(1, 1.8), (2.4, 3.2)], [(1.9, 2.3)], []),  # and two with text between
        ([(1, 5), (6, 10)], [(1, 5)], [(6, 10)]),
        ([(1, 5), (20, 25)], [], [(1, 5), (20, 25)]),
    ],
)
def test_speech_that_no_text_touches(speech, texts, left) -> None:
    found = untold(detected(0, 30, *speech), [(a * S, b * S) for a, b in texts])
    assert [(r.start / S, r.end / S) for r in found] == left


def test_a_second_of_speech_without_text_is_a_gap_wherever_it_is() -> None:
    found = audit(
        [detected(0, 30, (1, 8), (9, 14), (20, 26))], text((1, 8), (9, 10.5), (21.5, 26)), failed=(), duration=30.0
    )
    assert found.gaps == (Gap(start=10.5, end=14, reason="no_text"), Gap(start=20, end=21.5, reason="no_text"))


def test_where_nobody_looked_for_speech_only_a_long_hole_is_a_gap() -> None:
    plan = [chunk(0, 0, 30, (0, 30))]
    assert audit(plan, text((0, 10), (13, 30)), failed=(), duration=30.0).gaps == ()
    assert audit(plan, text((0, 10), (16, 30)), failed=(), duration=30.0).gaps == (
        Gap(start=10, end=16, reason="no_text"),
    )
