"""From what an alignment hears and where the sound pauses to the times of words."""

from __future__ import annotations

import math
from array import array

import pytest

from whisper.library.phrases import Phrase, Token
from whisper.library.word_times import pauses, relieved, spans, timed


def sound(*stretches: tuple[float, float]) -> memoryview[float]:
    """f32 samples of (seconds, amplitude) stretches of a tone."""
    samples = array("f")
    for seconds, amplitude in stretches:
        samples.extend(amplitude * math.sin(0.3 * n) for n in range(round(seconds * 16_000)))
    return memoryview(samples)


def token(text: str | bytes, end: float | None) -> Token:
    return Token(1, text.encode() if isinstance(text, str) else text, 0.5, -0.5, end)


def test_pauses_are_quiet_stretches_and_all_quiet_at_the_edges() -> None:
    found = pauses(sound((0.1, 0.001), (1.0, 0.3), (0.1, 0.001), (0.5, 0.2), (0.4, 0.001), (1.0, 0.3), (0.05, 0.001)))
    assert [(round(a, 2), round(b, 2)) for a, b in found] == [(0.0, 0.1), (1.7, 2.1), (3.1, 3.15)]


@pytest.mark.parametrize(
    "samples", [sound((2.0, 0.3)), sound((1.0, 0.1), (1.0, 0.2)), sound((0.005, 0.1)), sound((1.0, 0.0))]
)
def test_sound_without_contrast_has_no_pauses(samples: memoryview[float]) -> None:
    assert pauses(samples) == []


def test_digital_silence_does_not_make_breath_loud() -> None:
    assert pauses(sound((1.0, 0.3), (0.5, 0.0), (0.5, 0.001), (1.0, 0.3))) == [(1.0, 2.0)]


def test_a_word_starts_where_the_one_before_ends() -> None:
    assert spans([0.4, 0.9], [], 2.0) == [(0.0, 0.4), (0.4, 0.9)]


def test_around_a_pause_both_words_move_to_its_edges() -> None:
    quiet = [(0.0, 0.3), (1.0, 1.8), (2.4, 3.0)]
    for boundary in (1.0, 1.4, 1.8, 1.84):  # wherever in the pause, or a little behind it, the alignment says
        assert spans([boundary, 2.6], quiet, 3.0) == [(0.3, 1.0), (1.8, 2.4)]


def test_of_two_pauses_before_a_word_the_longer_counts() -> None:
    assert spans([1.0, 3.0], [(1.1, 1.4), (1.6, 2.5)], 3.0) == [(0.0, 1.6), (2.5, 3.0)]


def test_times_are_monotonic_and_inside_whatever_the_alignment_says() -> None:
    found = spans([2.0, 1.0, 9.0, 9.5, 0.1], [(1.5, 2.5), (4.0, 5.0)], 5.0)
    times = [t for span in found for t in span]
    assert times == sorted(times) and times[0] >= 0.0 and times[-1] <= 5.0
    assert spans([], [(0.0, 1.0)], 1.0) == []


def test_a_word_that_was_passed_over_shares_the_time_of_its_slower_neighbour() -> None:
    # "is" was given 0.9 s and "living" nothing
    assert relieved([0.5, 1.4, 1.4], [4, 3, 7], []) == pytest.approx([0.5, 0.77, 1.4])
    assert relieved([0.5, 0.9, 1.4], [4, 3, 7], []) == [0.5, 0.9, 1.4]


def test_time_without_sound_is_not_shared_out() -> None:
    # the second word lies in a pause: both were said before it
    assert relieved([1.0, 1.6], [5, 5], [(1.0, 1.6)]) == pytest.approx([0.5, 1.6])


def test_phrases_follow_their_words_and_a_comma_lasts_as_long_as_its_pause() -> None:
    phrases = [
        Phrase(0.0, 3.0, (token(" Yes", 0.8), token(",", 1.6), token(" no", 2.0))),
        Phrase(3.0, 4.0, (token(" may", 3.2), token("be", 3.5), token(".", 3.9))),
    ]
    found = timed(phrases, spaced=True, quiet=[(0.0, 0.2), (0.8, 1.5)], seconds=4.0)
    assert [(p.start, p.end) for p, _ in found] == [(0.2, 2.0), (2.0, 3.5)]
    assert [(w["word"], w["start"], w["end"]) for _, words in found for w in words] == [
        ("Yes,", 0.2, 0.8),
        ("no", 1.5, 2.0),
        ("maybe.", 2.0, 3.5),
    ]


def test_characters_have_times_where_words_have_no_spaces() -> None:
    first, rest = "漢".encode()[:2], "漢".encode()[2:]
    phrase = Phrase(0.0, 2.0, (token(first, 0.3), token(rest, 0.6), token("字", 1.0), token("。", 1.8)))
    [(lasting, words)] = timed([phrase], spaced=False, quiet=[], seconds=2.0)
    assert [(w["word"], w["start"], w["end"]) for w in words] == [("漢", 0.0, 0.6), ("字", 0.6, 1.0), ("。", 1.0, 1.8)]
    assert lasting.end == 1.8


def test_one_token_without_a_time_and_all_words_get_theirs_by_length() -> None:
    phrase = Phrase(1.0, 2.0, (token(" one", 1.9), token(" two", None)))
    [(lasting, words)] = timed([phrase], spaced=True, quiet=[], seconds=2.0)
    assert lasting == phrase
    assert [(w["start"], w["end"]) for w in words] == [(1.0, 1.5), (1.5, 2.0)]
