"""Words laid on speech: edges, pauses, order, and nothing lost, whatever an aligner says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.speech.word_edges import Span, placed


def near(found: list[Span], wanted: list[Span]) -> bool:
    return len(found) == len(wanted) and all(
        abs(a - b) < 0.011 for one, other in zip(found, wanted, strict=True) for a, b in zip(one, other, strict=True)
    )


SPEECH = [(0.3, 0.9), (1.5, 2.5)]


@pytest.mark.parametrize("boundary", [0.8, 0.9, 1.2, 1.5, 1.6])
def test_a_boundary_in_a_pause_or_near_it_becomes_its_edges(boundary: float) -> None:
    assert near(placed([(0.2, boundary), (boundary, 2.4)], SPEECH), SPEECH)


def test_a_boundary_amid_speech_stays() -> None:
    assert near(placed([(0.0, 0.7), (0.7, 1.3)], [(0.0, 1.3)]), [(0.0, 0.7), (0.7, 1.3)])


def test_a_word_does_not_stretch_over_a_pause() -> None:
    first, second, third = placed([(0.3, 0.6), (0.6, 1.8), (1.8, 2.5)], SPEECH)
    assert not any(start < 0.9 - 0.011 and end > 1.5 + 0.011 for start, end in (first, second, third))


def test_far_words_say_nothing_about_each_other() -> None:
    here, there = [(0.0, 0.4), (0.4, 0.9)], [(60.0, 60.5), (60.5, 61.2)]
    speech = [(0.1, 0.8), (60.1, 61.3)]
    assert near(placed([*here, *there], speech), [*placed(here, speech[:1]), *placed(there, speech[1:])])


def test_many_words_without_a_pause_are_laid_too() -> None:
    words = [(n * 0.3, n * 0.3 + 0.3) for n in range(1000)]
    assert near(placed(words, [(0.0, 300.0)]), words)


def test_without_speech_or_room_words_stay_where_they_are() -> None:
    crowd = [(1.0, 1.0)] * 60
    assert placed(crowd, [(0.0, 2.0)]) == crowd and placed([], SPEECH) == []


times = st.lists(st.floats(0, 20), max_size=24)


@given(times, times)
def test_words_are_in_order_and_as_many_as_before(words: list[float], speech: list[float]) -> None:
    words, speech = sorted(words), sorted(set(speech))
    said = list(zip(words[::2], words[1::2], strict=False))
    found = placed(said, list(zip(speech[::2], speech[1::2], strict=False)))
    assert len(found) == len(said) and all(a <= b + 1e-9 for a, b in found)
    assert all(one[1] <= two[0] + 1e-9 for one, two in pairwise(found))
