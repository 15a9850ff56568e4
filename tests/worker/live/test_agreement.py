from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.live.stages.agreement import Agreement

words = st.sampled_from(["Lucy", "lucy,", "buys", "five", "Five.", "blue", "-", "你好", "朋友", "books."])
texts = st.lists(st.lists(words, max_size=8).map(" ".join), max_size=6)


def after(*hypotheses: str) -> tuple[str, str]:
    agreement = Agreement()
    for text in hypotheses:
        agreement.add(text)
    return agreement.committed, agreement.tail


def test_what_two_hypotheses_have_in_common_is_committed() -> None:
    assert after("Lucy buys") == ("", "Lucy buys")
    assert after("Lucy buys", "Lucy buys five blue") == ("Lucy buys", " five blue")
    assert after("Lucy buys five", "Lucy buys nine", "Lucy buys nine white dogs") == ("Lucy buys nine", " white dogs")


def test_case_and_punctuation_do_not_matter_and_the_newest_form_is_told() -> None:
    assert after("Lucy buys. Five", "lucy buys five") == ("lucy buys five", "")


def test_what_is_committed_stays_though_the_model_changes_its_mind() -> None:
    assert after("Lucy buys", "Lucy buys", "Lucky bees five blue") == ("Lucy buys", " five blue")
    assert after("Lucy buys", "Lucy buys", "Oh Lucy buys five") == ("Lucy buys", " five")
    assert after("Lucy buys", "Lucy buys", "") == ("Lucy buys", "")


def test_languages_without_blanks_agree_by_letters() -> None:
    assert after("你好朋", "你好朋友。", "你好朋友们") == ("你好朋友", "们")


@given(texts)
def test_committed_text_only_grows_and_both_together_are_the_text(hypotheses: list[str]) -> None:
    agreement, before = Agreement(), ""
    for n, text in enumerate(hypotheses):
        agreement.add(text)
        assert agreement.committed.startswith(before)
        before = agreement.committed
        if n == 0:
            assert agreement.tail.split() == text.split()


@given(st.lists(words, min_size=1, max_size=8).map(" ".join))
def test_the_same_text_twice_is_all_committed(text: str) -> None:
    committed, tail = after(text, text)
    assert committed.split() == text.split() and tail == ""
