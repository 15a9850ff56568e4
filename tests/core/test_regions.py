from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.audio.samples import Pcm, Region
from core.speech.regions import FRAME, PIECE, ScoredRegions, SpeechRegions

runs = st.lists(st.tuples(st.sampled_from([0.02, 0.3, 0.4, 0.45, 0.6, 0.98]), st.integers(1, 60)), max_size=30)


def scores(*parts: tuple[float, int]) -> list[float]:
    return [p for p, frames in parts for _ in range(frames)]


def joined(regions: list[Region]) -> list[tuple[int, int]]:
    """Touching regions as one."""
    out: list[tuple[int, int]] = []
    for r in regions:
        if out and out[-1][1] == r.start:
            out[-1] = (out[-1][0], r.end)
        else:
            out.append((r.start, r.end))
    return out


def test_hysteresis_padding_and_the_shortest_speech() -> None:
    regions = SpeechRegions()
    found = regions.feed(
        scores(
            (0.1, 20),
            (0.9, 20),
            (0.4, 5),
            (0.9, 5),
            (0.1, 30),
            (0.9, 6),
            (0.1, 30),
            (0.9, 10),
            (0.1, 2),
            (0.6, 5),
            (0.1, 9),
        )
    )
    total = 142 * FRAME
    found += regions.finish(total)
    # 0.4 does not close; 6 frames (192 ms) are too short; 2 frames of silence (64 ms) do not part
    assert found == [Region(start=19 * FRAME, end=51 * FRAME), Region(start=115 * FRAME, end=134 * FRAME)]


@settings(deadline=None)
@given(runs, st.lists(st.integers(0, 200)), st.integers(0, FRAME - 1))
def test_blocks_do_not_matter(parts: list[tuple[float, int]], cuts: list[int], missing: int) -> None:
    values = scores(*parts)
    total = max(0, len(values) * FRAME - missing)
    whole = SpeechRegions()
    expected = whole.feed(values) + whole.finish(total)
    edges = sorted({0, len(values), *(c for c in cuts if c < len(values))})
    blocks = SpeechRegions()
    found, settled = [], [(0, 0)]
    for a, b in zip(edges, edges[1:], strict=False):
        found += blocks.feed(values[a:b])
        settled.append((len(found), blocks.settled()))
    assert found + blocks.finish(total) == expected
    assert all(r.start >= until for n, until in settled for r in expected[n:]), "one began before what was settled"
    assert all(0 <= r.start < r.end <= total for r in expected)
    assert all(a.end <= b.start for a, b in zip(expected, expected[1:], strict=False))


def test_long_speech_is_handed_over_while_it_lasts() -> None:
    regions = SpeechRegions()
    found = regions.feed([0.1] * 10 + [0.9] * 2000)
    assert sum(r.samples for r in found) >= 2000 * FRAME - PIECE
    found += regions.feed([0.9] * 20 + [0.0] * 50)
    assert joined(found) == [(9 * FRAME, 2031 * FRAME)]


def test_quietest_is_the_deepest_dip_and_not_a_single_odd_frame() -> None:
    regions = SpeechRegions()
    values = [0.9] * 300
    values[50] = 0.1
    values[200:206] = [0.4] * 6
    regions.feed(values)
    assert 200 <= regions.quietest(0, 300 * FRAME) // FRAME < 206
    assert regions.quietest(10 * FRAME, 12 * FRAME) in range(10 * FRAME, 12 * FRAME + 1)
    assert regions.quietest(1000, 1100) == 1050


def test_pcm_of_any_block_length_reaches_the_score_in_whole_frames() -> None:
    pcm = np.zeros(40 * FRAME + 100, np.int16)
    pcm[10 * FRAME :] = 1000

    def score(block: Pcm) -> NDArray[np.float32]:
        assert len(block) % FRAME == 0
        loud: NDArray[np.bool_] = block.reshape(-1, FRAME).max(axis=1) > 500
        return loud.astype(np.float32)

    def run(size: int) -> list[Region]:
        source = ScoredRegions(score, SpeechRegions())
        return [r for i in range(0, len(pcm), size) for r in source.feed(pcm[i : i + size])] + source.finish()

    assert run(len(pcm)) == run(77) == run(5000) == [Region(start=9 * FRAME, end=len(pcm))]


def test_padding_that_would_overlap_is_refused() -> None:
    with pytest.raises(ValueError, match="pad"):
        SpeechRegions(min_silence=0.1, pad=0.06)
