from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.transcript.values import Segment, Word
from worker.live.stages.seam import before_cut, behind_cut

CUT = 10.0
"""On the timeline. The second side hears from a second before."""


def segment(*words: tuple[str, float, float]) -> Segment:
    return Segment(
        start=words[0][1],
        end=words[-1][2],
        text=" ".join(word for word, *_ in words),
        words=tuple(Word(word=word, start=a, end=b, probability=0.9) for word, a, b in words),
    )


def texts(segments: tuple[Segment, ...]) -> str:
    return " ".join(one.text for one in segments)


def test_each_side_says_its_own_and_a_word_at_the_cut_is_said_once() -> None:
    first = before_cut([segment(("down", 9.0, 9.3), ("the", 9.5, 9.7), ("old", 9.8, 10.1), ("road", 10.3, 10.8))], CUT)
    assert texts(first) == "down the old"
    heard = segment(("the", 0.5, 0.7), ("old", 0.95, 1.25), ("road", 1.3, 1.8), ("home", 2.0, 2.4))
    assert texts(behind_cut([heard], first[0].words, offset=9.0, cut=CUT)) == "road home"


def test_a_word_that_the_first_side_gave_away_is_not_lost_however_the_second_times_it() -> None:
    first = before_cut([segment(("the", 9.5, 9.7), ("old", 9.85, 10.25))], CUT)  # middle behind the cut
    heard = segment(("the", 0.5, 0.7), ("old", 0.7, 1.0), ("road", 1.3, 1.8))  # middle before it
    assert texts(first) == "the"
    assert texts(behind_cut([heard], first[0].words, offset=9.0, cut=CUT)) == "old road"


def test_without_a_common_word_time_decides() -> None:
    said = segment(("ducks", 9.2, 9.9)).words
    heard = segment(("docks", 0.2, 0.9), ("swim", 1.1, 1.5))
    assert texts(behind_cut([heard], said, offset=9.0, cut=CUT)) == "swim"


def test_a_last_word_that_ends_too_late_does_not_take_the_next_with_it() -> None:
    said = segment(("fatigue", 9.39, 10.25)).words  # the first side has heard nothing behind it
    heard = segment(("answered", 1.0, 1.36), ("he", 1.36, 1.79))
    assert texts(behind_cut([heard], said, offset=9.0, cut=CUT)) == "answered he"
    piece = segment(("teague", 1.0, 1.36), ("answered", 1.4, 1.79))
    assert texts(behind_cut([piece], said, offset=9.0, cut=CUT)) == "answered"


def test_a_repeated_word_is_dropped_once() -> None:
    said = segment(("no", 9.1, 9.3), ("no", 9.6, 9.8)).words
    heard = segment(("no", 0.1, 0.3), ("no", 0.6, 0.8), ("no", 1.1, 1.3))
    assert texts(behind_cut([heard], said, offset=9.0, cut=CUT)) == "no"


def test_a_first_side_that_heard_nothing_leaves_all_to_the_second() -> None:
    heard = segment(("the", 0.5, 0.7), ("road", 1.3, 1.8))
    assert behind_cut([heard], (), offset=9.0, cut=CUT) == (heard,)


@given(st.lists(st.floats(0.12, 0.6), min_size=12, max_size=30), st.floats(-0.05, 0.05), st.floats(3.0, 6.0))
def test_each_word_is_said_exactly_once_wherever_it_is_cut(lengths: list[float], drift: float, cut: float) -> None:
    """Both sides hear the same words, timed a little differently."""
    words, at = [], 0.0
    for n, length in enumerate(lengths):
        words.append((f"w{n}", at, at + length * 0.9))
        at += length
    first = before_cut([segment(*(word for word in words if word[2] <= cut + 1.0))], cut)
    offset = cut - 1.0
    seen = [(w, a - offset + drift, b - offset + drift) for w, a, b in words if a + drift >= offset]
    said = [word for one in first for word in one.words]
    second = behind_cut([segment(*seen)], said, offset=offset, cut=cut) if seen else ()
    assert f"{texts(first)} {texts(second)}".split() == [word for word, *_ in words]
