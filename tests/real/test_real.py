"""Real people, official weights: the words, their language and their times stay what they were.

The figures are those of tests/real/figures.json; `python -m tests.real.record` takes them anew.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from benchmarks.official import MissingModel
from tests.real.cases import ALIGNED, TALK, WORDLESS, spoken
from tests.real.listening import MODELS, TALKER, WITH_SPEAKERS, clips, listening, recorded
from tests.skipping import skip_on_a_laptop

POINTS = 0.5
"""By how much a file's error rate may differ from the recorded one: less than a word makes in any of the files."""

MILLISECONDS = 20
"""By how much the times of words may be further off than recorded: one step of the model's timestamps."""

pytestmark = pytest.mark.timeout(600)  # the first test of a model may have to fetch it

EVERY = [(model, case.name) for model in MODELS for case in spoken(model)]


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """model, case -> Heard; all cases of a model are on their way from the first call on."""
    known = {}
    with ExitStack() as services:

        def find(model, name):
            if model not in known:
                try:
                    known[model] = services.enter_context(listening(model, tmp_path_factory.mktemp("real")))
                except MissingModel as error:
                    known[model] = str(error)
            if isinstance(known[model], str):
                skip_on_a_laptop(known[model])
            if name not in known[model]:
                skip_on_a_laptop(f"{name}: {'; '.join(clips()[1]) or 'no such recording'}")
            return known[model][name]

        yield find


@pytest.mark.parametrize(("model", "name"), EVERY)
def test_the_words_are_those_that_were_recorded(heard, model, name):
    one = heard(model, name)
    assert one.errors.rate == pytest.approx(recorded()[model]["errors"][name], abs=POINTS), one.result["text"]


@pytest.mark.parametrize("name", [case.name for case in spoken("base")])
def test_the_language_is_recognised_but_where_it_was_not_then(heard, name):
    assert heard("base", name).mistaken == recorded()["base"]["mistaken"].get(name)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", [case.name for case in WORDLESS])
def test_nothing_is_heard_where_nobody_speaks(heard, model, name):
    assert heard(model, name).result["segments"] == []


@pytest.mark.parametrize("model", MODELS)
def test_words_are_where_they_were_spoken(heard, model):
    found = [heard(model, name).timing for name in ALIGNED]
    together = sum(found[1:], found[0])
    figures = recorded()[model]
    assert len(together.starts) >= 30
    assert 1000 * together.percentile(50) <= figures["start_median"] + MILLISECONDS
    assert 1000 * together.percentile(95) <= figures["start_p95"] + MILLISECONDS


def test_who_speaks_changes_no_letter(heard):
    plain, found = heard(TALKER, TALK).result, heard(TALKER, WITH_SPEAKERS).result
    assert (found["text"], found["gaps"]) == (plain["text"], plain["gaps"])
    assert plain["text"] and found["speakers"] and plain["speakers"] is None


@pytest.mark.parametrize("model", MODELS)
def test_times_stay_within_the_recording_and_in_order(heard, model):
    for case in spoken(model):
        result = heard(model, case.name).result
        times = [moment for segment in result["segments"] for moment in (segment["start"], segment["end"])]
        assert times == sorted(times) and (not times or times[0] >= 0.0 and times[-1] <= result["duration"] + 0.01), (
            case.name
        )
