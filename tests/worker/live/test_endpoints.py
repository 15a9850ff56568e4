from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.audio.samples import SAMPLE_RATE
from core.speech.planner import MARGIN
from core.speech.regions import FRAME
from worker.live.stages.endpoints import BEYOND, CUT_AT, CUT_FROM, SHORT, SHORT_PAUSE, Edge, Endpoints, Found

SILENCE = round(0.4 * SAMPLE_RATE)
runs = st.lists(
    st.tuples(st.sampled_from([0.02, 0.3, 0.4, 0.6, 0.98]), st.integers(1, 60) | st.integers(300, 600)), max_size=20
)


def scores(*parts: tuple[float, int]) -> list[float]:
    return [p for p, frames in parts for _ in range(frames)]


def ended(found: list[Found]) -> list[Found]:
    return [one for one in found if one.edge is Edge.ENDED]


def test_silence_ends_an_utterance_and_half_of_it_says_so_before() -> None:
    endpoints = Endpoints(silence=SILENCE)
    found = endpoints.feed(scores((0.1, 40), (0.9, 100), (0.1, 20)))
    begun, paused, end = found
    assert [one.edge for one in found] == [Edge.BEGUN, Edge.PAUSED, Edge.ENDED]
    assert begun.speech.start == end.speech.start == 40 * FRAME
    assert end.speech.end == 140 * FRAME
    assert end.heard.start == 40 * FRAME - MARGIN
    assert paused.heard == end.heard, "what was heard in the pause is the final"
    assert end.heard.end == end.end == 140 * FRAME + SILENCE // 2


def test_who_goes_on_speaking_has_one_utterance() -> None:
    found = Endpoints(silence=SILENCE).feed(scores((0.9, 100), (0.1, 8), (0.9, 50), (0.1, 30)))
    assert [one.edge for one in found] == [Edge.BEGUN, Edge.PAUSED, Edge.RESUMED, Edge.PAUSED, Edge.ENDED]


def test_a_piece_of_a_sentence_needs_twice_the_pause() -> None:
    def edges(speech: int, pause: int) -> list[Edge]:
        frames = scores((0.9, speech // FRAME + 1), (0.1, pause // FRAME + 1), (0.9, 20))
        return [one.edge for one in Endpoints(silence=SILENCE).feed(frames)]

    assert Edge.ENDED in edges(SHORT, SILENCE)
    assert edges(SHORT - FRAME, SILENCE) == [Edge.BEGUN, Edge.PAUSED, Edge.RESUMED]
    assert Edge.ENDED in edges(SHORT - FRAME, SHORT_PAUSE * SILENCE)


def test_a_knock_is_no_utterance() -> None:
    endpoints = Endpoints(silence=SILENCE)
    assert endpoints.feed(scores((0.1, 40), (0.9, 6), (0.1, 40))) == []
    assert endpoints.is_quiet and endpoints.settled == 86 * FRAME - SAMPLE_RATE


def test_from_twelve_seconds_on_a_short_pause_is_a_cut() -> None:
    long = CUT_FROM // FRAME + 1
    (first, second) = ended(Endpoints(silence=SILENCE).feed(scores((0.9, long), (0.1, 6), (0.9, 100), (0.1, 20))))
    assert first.end == first.heard.end == second.start == second.heard.start == (long + 3) * FRAME


def test_at_fifteen_seconds_it_is_cut_where_speech_is_least_likely_and_both_sides_hear_more() -> None:
    frames = CUT_AT // FRAME
    dip = frames - 70
    (first, second) = ended(Endpoints(silence=SILENCE).feed(scores((0.9, dip), (0.5, 5), (0.9, 300), (0.1, 20))))
    assert first.end == second.start == (dip + 2) * FRAME + FRAME // 2
    assert first.heard.end == first.end + BEYOND and second.heard.start == first.end - BEYOND


def test_what_is_open_ends_when_asked_to_and_may_go_on() -> None:
    endpoints = Endpoints(silence=SILENCE)
    endpoints.feed(scores((0.9, 50)))
    (end,) = endpoints.finish(50 * FRAME + 100)
    assert end.edge is Edge.ENDED and end.heard.end == end.end == 50 * FRAME + 100
    (again,) = ended(endpoints.feed(scores((0.9, 100), (0.1, 20))))
    assert again.start == again.heard.start == end.end


def test_what_was_heard_before_is_not_heard_again() -> None:
    endpoints = Endpoints(silence=SILENCE, begin=FRAME, start=30 * FRAME, hears_from=30 * FRAME)
    found = endpoints.feed(scores((0.9, 20), (0.1, 15), (0.9, 100), (0.1, 20)))
    (end,) = ended(found)
    assert end.start == 30 * FRAME and end.heard.start >= 30 * FRAME


@settings(deadline=None)
@given(runs, st.lists(st.integers(0, 2000)), st.sampled_from([200, 400, 2000]))
def test_frames_may_come_in_any_portions_and_every_sample_is_somebodys(
    parts: list[tuple[float, int]], cuts: list[int], silence_ms: int
) -> None:
    values = scores(*parts)
    silence, total = silence_ms * SAMPLE_RATE // 1000, len(values) * FRAME
    whole = Endpoints(silence=silence)
    expected = [*whole.feed(values), *whole.finish(total)]
    edges = sorted({0, len(values), *(c for c in cuts if c < len(values))})
    endpoints, found, settled = Endpoints(silence=silence), [], 0
    for a, b in pairwise(edges):
        new = endpoints.feed(values[a:b])
        assert all(one.heard.start >= settled for one in new), "heard from before what was settled"
        found += new
        settled = max(settled, min([endpoints.settled, *(one.heard.start for one in new)]))
    assert [*found, *endpoints.finish(total)] == expected
    last = 0
    for one in ended(expected):
        assert one.start == last and one.start < one.end <= one.heard.end <= total
        assert 0 <= one.heard.start <= one.speech.start < one.speech.end
        assert one.heard.samples < 28 * SAMPLE_RATE
        last = one.end
    order = [one.edge for one in expected if one.edge in (Edge.BEGUN, Edge.ENDED)]
    assert order == [Edge.BEGUN, Edge.ENDED] * (len(order) // 2)


@pytest.mark.parametrize("silence_ms", [200, 400, 1000, 2000])
def test_the_final_can_be_asked_for_before_the_silence_is_over(silence_ms: int) -> None:
    found = Endpoints(silence=silence_ms * SAMPLE_RATE // 1000).feed(scores((0.9, 100), (0.1, 80)))
    assert [one.edge for one in found] == [Edge.BEGUN, Edge.PAUSED, Edge.ENDED]
    assert found[1].heard == found[2].heard
