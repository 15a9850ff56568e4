from __future__ import annotations

import pytest

from core.audio.samples import SAMPLE_RATE
from core.transcript.values import Language, Segment
from worker.stages.language_vote import LanguageVote, notices, own_language


def vote(*windows: dict[str, float], usual: tuple[str, ...] = ()) -> LanguageVote:
    found = LanguageVote(usual)
    for window in windows:
        assert not found.decided
        found.add(window)
    return found


@pytest.mark.parametrize(
    ("windows", "language", "confidence"),
    [
        ([{"de": 0.95, "nl": 0.03}], "de", 0.95),  # sure
        ([{"de": 0.6, "nl": 0.3}, {"de": 0.7, "en": 0.2}], "de", 0.65),  # two agree
        ([{"de": 0.6, "nl": 0.3}, {"nl": 0.5, "de": 0.45}, {"en": 0.7, "de": 0.2}], "de", 0.4167),  # the largest sum
        ([{}, {"fr": 0.92}], "fr", 0.92),  # a window that could not be decoded has no vote
    ],
)
def test_the_first_windows_decide(windows, language, confidence) -> None:
    found = vote(*windows)
    assert found.decided and found.result() == Language(code=language, confidence=confidence)


def test_one_doubtful_window_does_not_decide_and_none_is_no_language() -> None:
    assert not vote({"de": 0.6}).decided
    assert vote().result() is None and vote({}, {}, {}).decided and vote({}, {}, {}).result() is None


@pytest.mark.parametrize(
    ("usual", "language"), [((), "en"), (("de", "en"), "en"), (("de", "fr"), "de"), (("tr",), "tr")]
)
def test_a_weak_guess_is_one_of_the_usual_languages(usual, language) -> None:
    """0.12 for Arabic is what three seconds of noisy English looked like."""
    found = vote({"ar": 0.12, "tr": 0.11, "en": 0.08, "de": 0.02}, usual=usual).result()
    assert found is not None and found.code == language and found.confidence < 0.5


def test_a_strong_guess_is_taken_whatever_is_usual_and_a_weak_one_where_english_is_out_of_the_question() -> None:
    assert vote({"ja": 0.97}, usual=("de",)).result() == Language(code="ja", confidence=0.97)
    assert vote({"lv": 0.45, "lt": 0.3, "en": 0.02}).result() == Language(code="lv", confidence=0.45)


def test_what_is_tried_first() -> None:
    assert (LanguageVote().guess, LanguageVote(("fr", "de")).guess) == ("en", "fr")


@pytest.mark.parametrize(
    ("heard", "seconds", "language"),
    [
        ({"de": 0.85, "en": 0.1}, 10, "de"),
        ({"de": 0.75, "en": 0.2}, 10, "en"),  # not clear
        ({"de": 0.99}, 1.5, "en"),  # a name, a quotation
        ({"en": 0.99}, 10, "en"),
        ({}, 10, "en"),  # an engine that does not tell
    ],
)
def test_a_chunk_has_a_language_of_its_own_only_if_that_is_clear(heard, seconds, language) -> None:
    assert own_language("en", heard, round(seconds * SAMPLE_RATE)) == language


def said(*languages: str) -> list[Segment]:
    return [Segment(start=n, end=n + 1, text="word", language=code) for n, code in enumerate(languages)]


def codes(*args, **kwargs) -> list[str]:
    return [notice.code for notice in notices(*args, **{"asked": None, "heard": {}, **kwargs})]


def test_what_the_user_is_told() -> None:
    sure, weak = Language(code="en", confidence=0.9), Language(code="en", confidence=0.3)
    assert codes(said("en", "en"), sure) == []
    assert codes(said("en"), weak) == ["language_unsure"]
    assert codes(said("en", "de", "zh"), sure) == ["mixed_languages"]
    assert "Chinese, German" in notices(said("en", "de", "zh"), sure, asked=None, heard={})[0].message
    assert codes(said("en"), Language(code="en", confidence=1.0), asked="en", heard={"de": 3, "en": 1}) == [
        "language_mismatch"
    ]
    assert codes(said("en"), Language(code="en", confidence=1.0), asked="en", heard={"de": 1, "en": 2}) == []
    assert codes([], None) == []


@pytest.mark.parametrize(
    ("logprob", "multilingual", "told"), [(-0.6, False, ["english_only"]), (-0.3, False, []), (-0.6, True, [])]
)
def test_an_english_model_that_doubts_what_it_heard_says_so(logprob, multilingual, told) -> None:
    segments = [
        Segment(start=0, end=1, text="please subscribe", avg_logprob=logprob),
        Segment(start=1, end=2, text="so", avg_logprob=-0.1),
    ]
    assert codes(segments, Language(code="en", confidence=1.0), multilingual=multilingual) == told
