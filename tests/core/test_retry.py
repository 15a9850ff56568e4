from itertools import islice
from threading import Event

import pytest

from core.system.retry import doubling, retry


class Busy(Exception):
    def __init__(self, retry_after: float | None = None) -> None:
        self.retry_after = retry_after


class Answers:
    """Raises or returns what comes next; remembers how long was waited before each further try."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.waited = list(answers), []

    def __call__(self) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, *pauses: float, **given) -> object:
        wait = given.pop("wait", self.waited.append)
        return retry(self, pauses=pauses, retryable=lambda error: isinstance(error, Busy), wait=wait, **given)


def test_it_asks_until_there_is_an_answer_and_waits_as_long_as_the_error_says() -> None:
    busy = Answers(Busy(), Busy(retry_after=7), 1, 2)
    assert busy.ask(0.5, 1, 2) == 1 and busy.waited == [0.5, 7]


@pytest.mark.parametrize(("answers", "left"), [((ValueError(), 1), 1), ((Busy(), Busy(), Busy(), 1), 1)])
def test_what_is_not_retryable_or_comes_too_often_goes_up(answers: tuple[object, ...], left: int) -> None:
    asked = Answers(*answers)
    with pytest.raises((ValueError, Busy)):
        asked.ask(0, 0)
    assert len(asked.answers) == left


def test_a_flag_and_the_end_of_patience_give_up() -> None:
    cancel = Event()
    cancel.set()
    for given in ({"wait": cancel.wait}, {"patience": -1.0}):
        asked = Answers(Busy(), 1)
        with pytest.raises(Busy):
            asked.ask(3600, **given)
        assert asked.answers == [1] and not asked.waited


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(doubling(0.5, 3), 5)) == [0.5, 1, 2, 3, 3]
