from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.chunks import Chunk
from core.speech.planner import MARGIN, OVERLAP, OVERLAP_MOST, ChunkPlanner
from core.speech.strategies import region_source
from testbed.audio_bank import speech

S = SAMPLE_RATE

holes = st.one_of(st.integers(1, 3000), st.integers(2000, 2 * S), st.integers(S, 60 * S))
lengths = st.one_of(st.integers(4000, 4 * S), st.integers(4000, 4 * S), st.integers(4000, 100 * S))
timelines = st.tuples(st.lists(st.tuples(holes, lengths), max_size=40), st.integers(0, 40 * S), st.booleans())
windows = st.integers(5, 30).map(lambda s: s * S)


def build(timeline: tuple[list[tuple[int, int]], int, bool]) -> tuple[list[Region], int]:
    parts, tail, at_once = timeline
    regions, position = [], 0
    for n, (hole, length) in enumerate(parts):
        position += 0 if at_once and n == 0 else hole
        regions.append(Region(start=position, end=position + length))
        position += length
    return regions, position + tail


def anywhere(start: int, end: int) -> int:
    """A `quietest` that lands all over the range, by its arguments alone."""
    return start + (start * 7919 + end) % (end - start + 1)


def plan(
    regions: list[Region],
    total: int,
    window: int,
    after: Chunk | None = None,
    quietest: Callable[[int, int], int] = anywhere,
) -> list[Chunk]:
    start, index = (after.end, after.index + 1) if after else (0, 0)
    planner = ChunkPlanner(window, quietest=quietest, start=start, first_index=index)
    return planner.feed(regions) + planner.finish(total)


@settings(deadline=None)
@given(timelines, windows)
def test_owned_spans_partition_windows_keep_the_limit_and_all_speech_is_heard(timeline, window) -> None:  # type: ignore[no-untyped-def]
    regions, total = build(timeline)
    chunks = plan(regions, total, window)
    assert [c.index for c in chunks] == list(range(len(chunks)))
    assert [c.start for c in chunks] == [0, *(c.end for c in chunks[:-1])][: len(chunks)]
    assert (chunks[-1].end if chunks else 0) == total
    for c in chunks:
        assert c.start < c.end
        assert c.samples <= window
        assert all(a.end < b.start for a, b in pairwise(c.regions))
        for r in c.regions:
            assert c.start - c.overlap_before <= r.start < r.end <= c.end + c.overlap_after
        assert max(c.overlap_before, c.overlap_after) <= max(OVERLAP, min(OVERLAP_MOST, window // 10))
    heard = sorted(r for c in chunks for r in c.regions)
    for region in regions:
        reached = region.start
        for r in heard:
            if r.start <= reached:
                reached = max(reached, r.end)
        assert reached >= region.end


@settings(deadline=None)
@given(timelines, windows, st.data())
def test_blocks_do_not_matter(timeline, window, data) -> None:  # type: ignore[no-untyped-def]
    regions, total = build(timeline)
    pieces = []
    for region in regions:  # long speech comes in touching pieces
        at = data.draw(st.integers(region.start + 1, region.end - 1))
        pieces += [Region(start=region.start, end=at), Region(start=at, end=region.end)]
    planner = ChunkPlanner(window, quietest=anywhere)
    chunks: list[Chunk] = []
    heard: list[tuple[int, int]] = []
    while pieces:
        n = data.draw(st.integers(1, len(pieces)))
        chunks += planner.feed(pieces[:n])
        del pieces[:n]
        heard.append((len(chunks), planner.hears_from(pieces[0].start if pieces else total)))
    chunks += planner.finish(total)
    assert chunks == plan(regions, total, window)
    assert all(c.regions[0].start >= first for n, first in heard for c in chunks[n:] if c.regions)


@settings(max_examples=60, deadline=None)
@given(timelines, windows)
def test_a_plan_goes_on_after_any_stored_chunk(timeline, window) -> None:  # type: ignore[no-untyped-def]
    regions, total = build(timeline)
    chunks = plan(regions, total, window)
    for n, last in enumerate(chunks):
        assert plan(regions, total, window, after=last) == chunks[n + 1 :]


def seconds(*spans: tuple[float, float]) -> list[Region]:
    return [Region(start=round(a * S), end=round(b * S)) for a, b in spans]


def test_silence_is_one_chunk_that_needs_no_engine() -> None:
    assert plan([], 3600 * S, 28 * S) == [Chunk(index=0, start=0, end=3600 * S, regions=(), speech=())]
    assert plan([], 0, 28 * S) == []


def test_long_holes_are_spliced_and_short_pauses_kept() -> None:
    (chunk,) = plan(seconds((5, 8), (8.9, 12), (40, 43)), 100 * S, 28 * S)
    speech = tuple(seconds((5, 8), (8.9, 12), (40, 43)))
    assert chunk == Chunk(
        index=0, start=0, end=100 * S, regions=tuple(seconds((4.7, 12.3), (39.7, 43.3))), speech=speech
    )


def test_the_cut_is_in_the_middle_of_the_longest_silence_near_the_limit() -> None:
    spoken = seconds((0, 10), (10.9, 20), (20.6, 25.5), (26.1, 27.5), (27.7, 50))
    first = plan(spoken, 60 * S, 28 * S)[0]
    assert (first.start, first.end) == (0, round(25.8 * S))  # not 27.6, a shorter one; not 20.3, as good but too early
    assert first.regions == tuple(seconds((0, 25.8)))
    assert first.overlap_after == 0


def test_speech_without_a_pause_is_cut_at_the_quietest_point_and_heard_twice_around_it() -> None:
    asked = []

    def quietest(start: int, end: int) -> int:
        asked.append((start / S, end / S))
        return min(max(start, 23 * S), end) if len(asked) == 1 else (start + end) // 2

    planner = ChunkPlanner(28 * S, quietest=quietest)
    first = planner.feed(seconds((1, 45)))[0]
    assert asked[:2] == [pytest.approx((0.7 + 0.7 * 28, 26.2)), pytest.approx((23.5, 25.5))]
    assert (first.end, first.overlap_after) == (23 * S, 1.5 * S)
    assert first.regions == tuple(seconds((0.7, 24.5)))
    second = planner.finish(45 * S)[0]
    assert asked[-1] == pytest.approx((20.5, 22.5))
    assert second.overlap_before == 1.5 * S
    assert second.regions == tuple(seconds((21.5, 45)))


def test_where_no_place_is_quieter_than_another_as_little_as_possible_is_heard_twice() -> None:
    first, second = plan(seconds((1, 45)), 45 * S, 28 * S, quietest=lambda start, end: end)
    assert (first.overlap_after, second.overlap_before) == (OVERLAP, OVERLAP)


def test_the_last_two_windows_are_balanced() -> None:
    spoken = seconds(*((3 * n, 3 * n + 2.5) for n in range(10)))  # 30 s: not 28 + 2
    a, b = plan(spoken, 30 * S, 28 * S)
    assert abs(a.seconds - b.seconds) < 3
    assert len(plan(spoken, 30 * S, 30 * S)) == 1


def test_chunks_come_while_speech_goes_on() -> None:
    planner = ChunkPlanner(28 * S, quietest=anywhere)
    assert len(planner.feed(seconds((0, 100)))) == 3


def test_window_bounds() -> None:
    for window in (4 * S, 31 * S):
        with pytest.raises(ValueError, match="5 to 30"):
            ChunkPlanner(window, quietest=anywhere)


@pytest.mark.parametrize("silence", [0.0, 0.25])
def test_windows_on_spoken_sentences_are_few_and_never_cut_a_sentence(silence: float) -> None:
    pcm, truth = speech(6, seed=7, silence=silence, noise_db=50)
    source = region_source("silence", lambda block: np.zeros(0, np.float32))
    regions = source.feed(pcm) + source.finish()
    planner = ChunkPlanner(28 * S, quietest=source.quietest)
    chunks = planner.feed(regions) + planner.finish(len(pcm))
    spoken = sum(r.samples for r in regions)
    pauses = sum(b.start - a.end if b.start - a.end <= S else 2 * MARGIN for a, b in pairwise(regions))
    assert len(chunks) <= -(-(spoken + pauses) // (28 * S)) + 1
    for c in chunks[:-1]:
        assert not any(u["start"] + 0.1 < c.end / S < u["end"] - 0.1 for u in truth["utterances"])
