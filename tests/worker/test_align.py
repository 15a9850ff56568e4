"""Words moved to where they are heard: no letter changed, nothing lost when it fails, nothing found twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.audio.samples import SAMPLE_RATE, Region
from core.jobs.job import Job
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.speech.chunks import Chunk
from core.transcript.formats import from_result
from core.transcript.values import Language, Segment, Transcript, Word
from testbed import audio_bank
from tests.worker.kit import Kit
from worker.stages.catalogue import catalogue
from worker.stages.words.align import ALIGN, AlignStage, aligned
from worker.stages.words.english import EnglishAligner


@pytest.fixture(scope="session")
def made_talk(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[tuple[float, float]]]:
    """30 s of sentences, and the pauses between them. The scripted engine hears a word in each second, and says that it fills it."""
    pcm, truth = audio_bank.speech(0.5, seed=3, gap=(0.4, 0.9))
    spans = [(one["start"], one["end"]) for one in truth["utterances"]]
    data = audio_bank.write(tmp_path_factory.mktemp("talk") / "talk.wav", pcm).read_bytes()
    return data, [(a[1], b[0]) for a, b in pairwise(spans)]


@pytest.fixture
def talk(made_talk: tuple[bytes, list[tuple[float, float]]]) -> bytes:
    return made_talk[0]


def transcript(made: Kit, job: Job) -> Transcript:
    return from_result(made.result(job))


def times(found: Transcript) -> list[tuple[float, float]]:
    words = [word for segment in found.segments for word in segment.words]
    return [(word.start, word.end) for word in words if word.start is not None and word.end is not None]


def test_words_begin_and_end_with_speech_and_the_text_stays(
    tmp_path: Path, made_talk: tuple[bytes, list[tuple[float, float]]]
) -> None:
    talk, pauses = made_talk
    made = Kit(tmp_path, chunk_strategy="fixed")
    job, plain = made.submit(talk, align=True, language="de"), made.submit(talk, word_timestamps=True, language="de")
    assert (made.run(), made.run()) == ("completed", "completed")
    found, without = transcript(made, job), transcript(made, plain)
    assert [s.text for s in found.segments] == [s.text for s in without.segments] and found.word_timestamps
    spans = times(found)
    assert len(spans) == len(times(without)) and all(a[1] <= b[0] for a, b in pairwise(spans))

    def over(words: list[tuple[float, float]]) -> int:
        return sum(start < a + 0.1 and b - 0.1 < end for a, b in pauses for start, end in words)

    assert over(spans) == 0 < over(times(without)), "a word does not stretch over a pause"
    for start, end in pauses:
        assert min(abs(start - one[1]) for one in spans) < 0.15 and min(abs(end - one[0]) for one in spans) < 0.15
    for segment in found.segments:
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    assert made.store.tasks(plain.id, ALIGN) == []
    assert len(made.store.tasks(job.id, ALIGN)) == len(made.chunks(job))


class Failing(AlignStage):
    """In chosen chunks, as often as asked; counts all."""

    def __init__(self, *numbers: int) -> None:
        self.asked: list[int] = []
        self._numbers = numbers

    def run(self, work: Any, task: Task) -> Any:
        self.asked.append(task.number)
        if task.number in self._numbers:
            raise RuntimeError("broken")
        return super().run(work, task)


def test_where_it_fails_the_words_keep_the_times_they_had(tmp_path: Path, talk: bytes) -> None:
    made = Kit(tmp_path, chunk_strategy="fixed")
    made.stages = [Failing(1) if one.name == ALIGN else one for one in catalogue()]
    job, plain = made.submit(talk, align=True, language="de"), made.submit(talk, word_timestamps=True, language="de")
    assert (made.run(), made.run()) == ("completed", "completed")
    found, without = transcript(made, job), transcript(made, plain)
    assert found.text == without.text and [w["code"] for w in made.store.get(job.id).warnings] == ["align_failed"]
    chunk = Chunk.from_dict(made.chunks(job)[1].plan or {})
    inside = [
        n
        for n, (start, end) in enumerate(times(without))
        if chunk.start / SAMPLE_RATE + 1 <= start and end <= chunk.end / SAMPLE_RATE - 1
    ]
    assert inside and all(times(found)[n] == pytest.approx(times(without)[n], abs=0.011) for n in inside)
    assert times(found) != times(without), "elsewhere they moved"


def test_what_was_found_is_not_looked_for_again(tmp_path: Path, talk: bytes) -> None:
    made, stage = Kit(tmp_path, delay=0.02, chunk_strategy="fixed"), Failing()
    made.stages = [stage if one.name == ALIGN else one for one in catalogue()]
    job = made.submit(talk, align=True, language="de")
    assert made.run_until(job, 2) == "handed back"
    done = {task.number for task in made.store.tasks(job.id, ALIGN) if task.state is TaskState.DONE}
    stage.asked.clear()
    assert made.run() == "completed"
    assert {*stage.asked} == {*range(len(made.chunks(job)))} - done


def test_silence_has_nothing_to_align(tmp_path: Path) -> None:
    made = Kit(tmp_path)
    pcm, _ = audio_bank.speech(0.1, seed=3)
    silent = audio_bank.write(tmp_path / "silent.wav", 0 * pcm).read_bytes()
    job = made.submit(silent, align=True)
    assert made.run() == "completed"
    assert [w["code"] for w in made.store.get(job.id).warnings] == ["no_speech"]


def test_a_translation_keeps_its_times(tmp_path: Path, talk: bytes) -> None:
    made = Kit(tmp_path, chunk_strategy="fixed")
    job = made.submit(talk, align=True, language="de", task="translate")
    assert made.run() == "completed"
    assert made.store.tasks(job.id, ALIGN) == []


def test_segments_without_word_times_stay_in_order() -> None:
    chunk = Chunk(index=0, start=0, end=4 * SAMPLE_RATE, regions=(Region(start=0, end=4 * SAMPLE_RATE),))
    plan = [Task(stage=TRANSCRIBE, plan=chunk.to_dict())]
    found = Task(stage=ALIGN, state=TaskState.DONE, output={"speech": [[0.2, 1.3], [2.0, 3.0]], "words": []})
    word = Word(word="one", start=0.3, end=1.1, probability=0.5)
    bare = replace(word, word="?", start=None, end=None)
    said = Transcript(
        segments=(
            Segment(start=0.3, end=1.1, text="one", words=(word,)),
            Segment(start=1.1, end=1.2, text="?", words=(bare,)),
            Segment(start=2.1, end=2.9, text="one", words=(replace(word, start=2.1, end=2.9),)),
        ),
        language=Language(code="en", confidence=1.0),
        duration=2.95,
        model="demo",
    )
    first, second, third = aligned(said, plan, [found]).segments
    assert (first.start, first.end) == (0.2, 1.3) and (second.start, second.end) == (1.3, 1.3)
    assert second.words == (bare,) and (third.start, third.end) == (2.0, 2.95), (
        "nothing lies behind the recording's end"
    )
    assert aligned(said, plan, []).segments[0] == said.segments[0]


def test_a_second_opinion_on_english_words_lies_where_they_are_said() -> None:
    pcm, truth = audio_bank.speech(0.2, seed=3)
    aligner, known = EnglishAligner(), 0
    for one in truth["utterances"]:
        first = max(0.0, one["start"] - 0.3)
        part = pcm[round(first * SAMPLE_RATE) : round((one["end"] + 0.3) * SAMPLE_RATE)]
        spans = aligner.spans(part, one["text"].split())
        if spans is not None:
            known += 1
            assert len(spans) == len(one["text"].split()) and all(a[1] <= b[0] for a, b in pairwise(spans))
            assert abs(spans[0][0] + first - one["start"]) < 0.1 and abs(spans[-1][1] + first - one["end"]) < 0.1
    assert known >= 2
    assert aligner.spans(pcm[:SAMPLE_RATE], ["1945"]) is None, "nobody knows how it was said"
    assert aligner.spans(pcm[:SAMPLE_RATE], ["zyntrix"]) is None
    assert aligner.spans(pcm[:0], ["one"]) is None


def test_the_second_opinion_counts_for_the_word_it_is_on() -> None:
    chunk = Chunk(index=0, start=0, end=4 * SAMPLE_RATE, regions=(Region(start=0, end=4 * SAMPLE_RATE),))
    plan = [Task(stage=TRANSCRIBE, plan=chunk.to_dict())]
    opinions = [["one", 1.0, 0.5, 1.5], ["two", 1.0, 3.0, 3.2]]
    found = Task(stage=ALIGN, state=TaskState.DONE, output={"speech": [[0.5, 1.5], [2.0, 3.5]], "words": opinions})
    word = Word(word="one", start=1.02, end=1.1, probability=0.5)
    said = Transcript(
        segments=(Segment(start=1.02, end=1.1, text="one", words=(word,)),),
        language=Language(code="en", confidence=1.0),
        duration=4.0,
        model="demo",
    )
    (segment,) = aligned(said, plan, [found]).segments
    assert (segment.start, segment.end) == (0.5, 1.5)
