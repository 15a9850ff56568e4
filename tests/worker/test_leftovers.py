"""Speech left without text is decoded again; the engine here is a table of what it says to which stretch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.chunks import Chunk
from core.transcript.values import Segment, Word
from whisper.types import ChunkTranscript
from worker.stages.words.leftovers import MOST, complete

S = SAMPLE_RATE


def speech(*spans: tuple[float, float], regions: tuple[tuple[float, float], ...] = ((0, 28),)) -> Chunk:
    def region(pairs):
        return tuple(Region(start=round(a * S), end=round(b * S)) for a, b in pairs)

    return Chunk(index=3, start=0, end=round(60 * S), regions=region(regions), speech=region(spans))


def transcript(*segments: tuple[float, float, str], logprob: float = -0.2, language: str = "en") -> ChunkTranscript:
    return ChunkTranscript(
        segments=tuple(
            Segment(start=a, end=b, text=text, avg_logprob=logprob, no_speech_prob=0.1, language=language)
            for a, b, text in segments
        ),
        language=language,
        no_speech_prob=0.1,
        engine_seconds=1.0,
        wall_seconds=1.0,
        engine={},
    )


class Engine:
    """Answers what comes next in its list, None for a decode that failed; remembers what it was asked (seconds of audio, whether greedy had failed)."""

    def __init__(self, *answers: ChunkTranscript | None) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, pcm, nothing: bool) -> ChunkTranscript | None:
        self.asked.append((round(len(pcm) / S, 1), nothing))
        return self.answers.pop(0) if self.answers else transcript()


def samples(chunk: Chunk) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 500, chunk.samples).astype(np.int16)


def run(chunk: Chunk, said: ChunkTranscript, *answers: ChunkTranscript):
    engine = Engine(*answers)
    found, seconds = complete(chunk, samples(chunk), said, engine)
    return found, seconds, engine.asked


def test_where_all_speech_has_text_nothing_is_decoded_again() -> None:
    said = transcript((0, 14, "All of it,"), (14, 27.5, "to the end."))
    found, seconds, asked = run(speech((0.3, 13), (14, 27.7)), said)
    assert (found, seconds, asked) == (said, 0.0, [])


def test_the_rest_of_a_window_that_ended_early_is_decoded_by_itself() -> None:
    found, seconds, asked = run(
        speech((0.3, 12), (13, 27)), transcript((0, 12, "The beginning.")), transcript((0.2, 14.2, "And the rest."))
    )
    assert [s.text for s in found.segments] == ["The beginning.", "And the rest."]
    assert found.segments[1].start == pytest.approx(12.9, abs=0.2) and found.segments[1].end == pytest.approx(
        26.9, abs=0.3
    )
    assert seconds == 1.0 and len(asked) == 1 and asked[0] == (14.6, False)


def test_a_hole_between_two_segments_is_filled_in_its_place() -> None:
    said = transcript((0, 5, "One."), (12, 27, "Three."))
    found, _, asked = run(speech((0.3, 4.8), (6, 11), (12, 27)), said, transcript((0.3, 5, "Two.")))
    assert [s.text for s in found.segments] == ["One.", "Two.", "Three."]
    assert all(a.end <= b.start for a, b in zip(found.segments, found.segments[1:], strict=False))
    assert len(asked) == 1


def test_words_that_both_heard_are_said_once() -> None:
    said = transcript((0, 10, "He was going to the"), (20, 27, "door and left."))
    found, _, _ = run(speech((0.3, 27)), said, transcript((0, 10.2, "To the window, then to the door")))
    assert [s.text for s in found.segments] == ["He was going to the", "window, then to the", "door and left."]


def test_letters_that_both_heard_are_said_once_where_words_have_no_blanks() -> None:
    words = tuple(
        Word(word=w, start=n, end=n + 1, probability=0.9) for n, w in enumerate(["很好,", "我们", "去", "公园。"])
    )
    answer = transcript((0, 10, "很好,我们去公园。"))
    answer = replace(answer, segments=(replace(answer.segments[0], words=words),))
    found, *_ = run(speech((0.3, 27)), transcript((0, 10, "今天天气很好"), (20, 27, "公园很大")), answer)
    assert [s.text for s in found.segments] == ["今天天气很好", "我们去", "公园很大"]
    assert [w.word for w in found.segments[1].words] == ["我们", "去"]


def test_an_empty_answer_is_asked_for_once_more_in_another_way() -> None:
    chunk = speech((0.2, 27.8))
    found, seconds, asked = run(chunk, transcript(), transcript((0, 27, "Heard after all.")))
    assert (found.text, seconds, asked) == ("Heard after all.", 1.0, [(28.0, True)])


def test_what_the_model_does_not_believe_in_stays_a_hole() -> None:
    said = transcript((0, 12, "The beginning."))
    found, seconds, _ = run(speech((0.3, 12), (13, 27)), said, transcript((0, 14, "Thank you."), logprob=-1.4))
    assert (found.text, seconds) == ("The beginning.", 1.0)


def test_each_stretch_is_tried_once_and_there_is_an_end() -> None:
    spans = [(n, n + 1.5) for n in range(0, 27, 3)]
    found, seconds, asked = run(speech(*spans), transcript((0, 1.5, "One.")))
    assert found.text == "One." and len(asked) == seconds == MOST


def test_a_decode_that_ends_early_again_is_followed_by_another() -> None:
    answers = [transcript((0.1, 5, "Two.")), transcript((0.1, 7.6, "Three."))]
    found, _, asked = run(speech((0.3, 12), (13, 18), (19, 25)), transcript((0, 12, "One.")), *answers)
    assert [s.text for s in found.segments] == ["One.", "Two.", "Three."] and len(asked) == 2


def test_times_hold_across_what_was_spliced_out() -> None:
    chunk = speech((0.3, 9.7), (40.3, 49.7), regions=((0, 10), (40, 50)))
    found, _, asked = run(chunk, transcript((0, 9.8, "Before.")), transcript((0.3, 9.5, "Behind.")))
    assert found.segments[1].start == pytest.approx(10.3, abs=0.15)  # heard seconds: merge maps them to 40.3
    assert asked == [(10.0, False)]


def test_it_knows_the_language_and_the_doubts_of_each_part() -> None:
    found, _, _ = run(
        speech((0.3, 12), (13, 27)), transcript((0, 12, "One.")), transcript((0, 14, "Zwei."), language="de")
    )
    assert [(s.language, s.no_speech_prob) for s in found.segments] == [("en", 0.1), ("de", 0.1)]


def test_a_decode_that_fails_costs_nothing_of_what_was_heard() -> None:
    said = transcript((0, 12, "One."))
    found, seconds, asked = run(
        speech((0.3, 12), (13, 18), (20, 27)), said, None, transcript((0, 6, "Never asked for."))
    )
    assert (found, seconds, len(asked)) == (said, 0.0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_times_of_words_change_no_decision(seed: int) -> None:
    """Segments that last from their first to their last word keep what the model's own timestamps say of them."""
    rng = np.random.default_rng(seed)

    def some(number: int) -> ChunkTranscript:
        edges = np.sort(rng.uniform(0, 27, 2 * number)).tolist()
        return transcript(*((a, b, f"Text {a:.2f}.") for a, b in zip(edges[::2], edges[1::2], strict=True)))

    def by_words(said: ChunkTranscript) -> ChunkTranscript:
        moved = [sorted(rng.uniform(s.start - 1, s.end + 1, 2).tolist()) for s in said.segments]
        return replace(
            said,
            segments=tuple(
                replace(s, start=a, end=b, timestamps=(s.start, s.end))
                for s, (a, b) in zip(said.segments, moved, strict=True)
            ),
        )

    chunk, said, answers = speech((0.3, 12), (13, 18), (20, 27)), some(3), [some(1) for _ in range(MOST)]
    plain, _, asked = run(chunk, said, *answers)
    found, _, also = run(chunk, by_words(said), *map(by_words, answers))
    assert also == asked and [(s.text, s.span) for s in found.segments] == [(s.text, s.span) for s in plain.segments]
    assert found.by_words().segments[0].span == (found.segments[0].start, found.segments[0].end)
