from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.words import errors
from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import LiveBehind, NotAvailable
from core.live.events import Event, Partial, SpeechEnd, SpeechStart, Translation
from core.live.sessions import StoredUtterance
from core.speech.chunks import Chunk
from core.system.cancel import Cancel
from core.transcript.merge import Piece, merge
from testbed import audio_bank
from testbed.live import MemorySink, Streams, streams
from whisper import DATA
from whisper.download.downloader import ModelDownloader
from whisper.engine.scripted import Rule, ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.models.store import ModelStore
from whisper.translation.router import SPOKEN, Translators
from whisper.types import ChunkTranscript
from worker.live.pipeline import LivePipeline
from worker.live.stages import recogniser

ENGLISH = {"params": {"language": "en"}}
QUIET = {"stream": {"partials": False}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    with streams(tmp_path_factory.mktemp("live")) as made:
        yield made


@pytest.fixture(scope="module")
def talk() -> tuple[Pcm, dict[str, Any]]:
    return audio_bank.speech(0.3, 41)


@pytest.fixture(scope="module")
def heard(engine: Streams, talk: tuple[Pcm, dict[str, Any]]) -> MemorySink:
    return asyncio.run(engine.play(talk[0], block=SAMPLE_RATE // 4))


@pytest.fixture(scope="module")
def through(engine: Streams) -> tuple[MemorySink, str]:
    """Speech without a pause that ends an utterance, for half a minute."""
    pcm, truth = audio_bank.speech(0.5, seed=7, gap=(0.1, 0.14), noise_db=None)
    return asyncio.run(engine.play(pcm, block=SAMPLE_RATE, **QUIET, **ENGLISH)), truth["text"]


def scripted(folder: Path, *rules: Rule, delay: float = 0.0) -> Streams:
    transcriber = WhisperTranscriber(
        ScriptedEngine(delay=delay, rules=rules, call_log=folder / "calls"),
        ModelDownloader(ModelStore(folder, DATA / "models")),
    )
    return Streams(transcriber, ThreadPoolExecutor(4), model="demo")


def calls(folder: Path) -> int:
    log = folder / "calls"
    return len(log.read_text().splitlines()) if log.exists() else 0


async def quiet_until_asked(pipeline: LivePipeline, folder: Path) -> None:
    """Silence, frame by frame, until the engine is asked; a busy machine has the time to do that before the next one."""
    for _ in range(40):
        await pipeline.feed(np.zeros(512, np.int16))
        for _ in range(10):
            if calls(folder):
                return
            await asyncio.sleep(0.02)


def sentences(*numbers: int, pause: float = 1.2) -> Pcm:
    """Sentences of the bank with silence around them."""
    hole = np.zeros(round(pause * SAMPLE_RATE), np.int16)
    return np.concatenate([hole, *(part for n in numbers for part in (audio_bank.sentence(n)[0], hole))])


def as_a_job(kept: Sequence[StoredUtterance]) -> list[str]:
    """The words that a job has which takes the utterances over."""
    pieces = [
        Piece(chunk=Chunk.from_dict(dict(one.chunk)), segments=ChunkTranscript.from_dict(dict(one.said)).segments)
        for one in kept
    ]
    return " ".join(segment.text for segment in merge(pieces).segments).replace(".", "").split()


def test_what_is_said_is_told_once_and_in_order(heard: MemorySink, talk: tuple[Pcm, dict[str, Any]]) -> None:
    pcm, truth = talk
    assert errors(truth["text"], heard.text, "en").rate <= 5
    assert [final.utterance for final in heard.finals] == list(range(len(heard.finals)))
    assert all(a.end <= b.start for a, b in pairwise(heard.finals))
    begun = [event.utterance for _, event in heard.events if isinstance(event, SpeechStart)]
    ended = [event.utterance for _, event in heard.events if isinstance(event, SpeechEnd)]
    assert begun == ended == [final.utterance for final in heard.finals]
    assert heard.acked == sorted(heard.acked) and heard.acked[-1] == len(pcm)
    assert {final.language for final in heard.finals} == {"en"}
    assert all(word.start is not None for final in heard.finals for word in final.words)


def test_partials_say_more_and_more_until_the_final(
    engine: Streams, talk: tuple[Pcm, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recogniser, "SLOWER", 0.0)  # an engine that is slow for a moment would be asked for fewer
    sink = asyncio.run(engine.play(talk[0][: 9 * SAMPLE_RATE], patient=True, **ENGLISH))
    assert len(sink.partials) >= 4
    seen: dict[int, tuple[int, str]] = {}
    for _, event in sink.events:
        if isinstance(event, Partial):
            revision, committed = seen.get(event.utterance, (0, ""))
            assert event.revision == revision + 1 and event.committed.startswith(committed)
            seen[event.utterance] = event.revision, event.committed
    assert any(committed for _, committed in seen.values())


def test_a_job_that_takes_the_utterances_over_has_the_same_words(
    heard: MemorySink, through: tuple[MemorySink, str]
) -> None:
    for sink in (heard, through[0]):
        assert as_a_job(sink.kept) == sink.text.replace(".", "").split()
        spans = [(one.start, one.end) for one in sink.kept]
        assert spans[0][0] == 0 and all(a[1] == b[0] for a, b in pairwise(spans))
        assert [one.chunk["index"] for one in sink.kept] == list(range(len(sink.kept)))


def test_speech_without_pauses_is_cut_and_no_word_is_lost_or_doubled(through: tuple[MemorySink, str]) -> None:
    sink, text = through
    assert all(one.chunk["regions"][-1][1] - one.chunk["regions"][0][0] <= 17 * SAMPLE_RATE for one in sink.kept)
    assert 2 <= len(sink.kept) < 7, "there was nothing to cut through"
    assert errors(text, sink.text, "en").rate <= 6
    assert all(final.start <= word.start <= word.end for final in sink.finals for word in final.words)


@pytest.mark.parametrize("seconds", [4.3, 11.0])
def test_who_takes_over_at_the_last_ack_loses_and_doubles_nothing(
    engine: Streams, talk: tuple[Pcm, dict[str, Any]], seconds: float
) -> None:
    pcm, truth = talk
    how: dict[str, Any] = {"block": SAMPLE_RATE, **ENGLISH, **QUIET}
    first = asyncio.run(engine.play(pcm[: round(seconds * SAMPLE_RATE)], finish=False, **how))
    acked = first.acked[-1] if first.acked else 0
    second = asyncio.run(engine.play(pcm[acked:], begin=acked, number=len(first.kept), before=first.kept[-1:], **how))
    together = errors(truth["text"], f"{first.text} {second.text}", "en")
    assert (together.deletions, together.insertions) == (0, 0) and together.substitutions <= 1
    kept = [*first.kept, *second.kept]
    assert [one.number for one in kept] == list(range(len(kept)))
    assert all(a.end == b.start for a, b in pairwise(kept))


def test_a_stream_that_goes_on_behind_a_cut_through_speech_says_each_word_once(engine: Streams) -> None:
    pcm, truth = audio_bank.speech(0.45, seed=9, gap=(0.0, 0.05), noise_db=None)
    whole = asyncio.run(engine.play(pcm, block=SAMPLE_RATE, **QUIET, **ENGLISH))
    at = next(n for n, one in enumerate(whole.kept) if one.chunk["regions"][-1][1] > one.end)
    begin = whole.kept[at].end - SAMPLE_RATE
    assert begin in whole.acked, "where the second side begins to hear"
    how = {"begin": begin, "number": at + 1, "before": whole.kept[: at + 1]}
    rest = asyncio.run(engine.play(pcm[begin:], block=SAMPLE_RATE, **how, **QUIET, **ENGLISH))
    assert rest.kept[0].start == whole.kept[at].end
    told = " ".join(final.text for final in whole.finals[: at + 1])
    alone, together = errors(truth["text"], whole.text, "en"), errors(truth["text"], f"{told} {rest.text}", "en")
    # whoever goes on has not the sound before, which helps with speech as hard as this
    assert together.count <= alone.count + 5 and together.insertions <= alone.insertions


def test_german_is_heard_as_german(engine: Streams) -> None:
    pcm, truth = audio_bank.speech(0.15, 5, lang="de")
    sink = asyncio.run(engine.play(pcm, block=SAMPLE_RATE, **QUIET))
    assert {final.language for final in sink.finals} == {"de"}
    assert errors(truth["text"], sink.text, "de").rate <= 10


def test_a_channel_whose_last_utterance_lies_far_back_goes_on_where_the_stream_does(engine: Streams) -> None:
    """Of the other one there are so many since that it is not among those that are told: its past is not said again."""
    left, right = sentences(0), sentences(1)
    pair = np.zeros((max(len(left), len(right)), 2), np.int16)
    pair[: len(left), 0], pair[: len(right), 1] = left, right
    how: dict[str, Any] = {"stream": {"channels": 2, "partials": False}, **ENGLISH}
    first = asyncio.run(engine.play(pair, block=SAMPLE_RATE, **how))
    begin = len(pair)
    known = [one for one in first.kept if one.chunk["channel"] == 1]
    rest = asyncio.run(engine.play(pair, block=SAMPLE_RATE, begin=begin, number=2, before=known, **how))
    starts = {one.chunk["channel"]: one.start for one in rest.kept}
    assert starts == {0: begin, 1: known[-1].end}


def test_two_channels_are_heard_apart_and_told_in_one_order(engine: Streams) -> None:
    one, two = sentences(0, 1, pause=1.0), sentences(2, 3, pause=1.4)
    length = max(len(one), len(two))
    pair = np.stack([np.pad(pcm, (0, length - len(pcm))) for pcm in (one, two)], axis=1)
    sink = asyncio.run(engine.play(pair, block=SAMPLE_RATE, stream={"channels": 2, "partials": False}, **ENGLISH))
    alone = [asyncio.run(engine.play(pcm, block=SAMPLE_RATE, **QUIET, **ENGLISH)).text for pcm in (one, two)]
    for channel in (0, 1):
        assert " ".join(final.text for final in sink.finals if final.channel == channel) == alone[channel]
    assert [final.utterance for final in sink.finals] == list(range(len(sink.finals)))
    assert sorted(as_a_job(sink.kept)) == sorted(sink.text.replace(".", "").split())


def test_noise_has_no_text_and_is_acked_all_the_same(engine: Streams) -> None:
    noise = (np.random.default_rng(1).standard_normal(10 * SAMPLE_RATE) * 300).astype(np.int16)
    sink = asyncio.run(engine.play(noise, **ENGLISH))
    assert sink.text == "" and sink.acked[-1] == len(noise)
    assert 5 <= len(sink.acked) <= 11, "about once a second"
    assert sink.kept == [] or all(one.final["text"] == "" for one in sink.kept)


def test_what_waits_for_an_engine_that_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    pcm = sentences(0, 1)
    (tmp_path / "good").mkdir()
    good = asyncio.run(scripted(tmp_path / "good").play(pcm, **QUIET))
    folder = tmp_path / "bad"
    folder.mkdir()
    away = asyncio.run(scripted(folder, Rule(kind="unavailable", calls=(1, 2, 3))).play(pcm, **QUIET))
    assert away.text == good.text != ""


def test_an_utterance_that_cannot_be_recognised_says_so_and_the_stream_goes_on(tmp_path: Path) -> None:
    # each request is tried twice by the transcriber, and twice by the stream
    made = scripted(tmp_path, Rule(kind="crash", calls=(1, 2, 3, 4)))
    at_once = {"partials": False, "silence_ms": 200}  # the pause is over before its first half is looked at
    sink = asyncio.run(made.play(sentences(0, 1), block=3200 * 100, stream=at_once))
    first, second = sink.finals
    assert (first.text, first.error) == ("", "chunk_failed") and second.text and second.error is None
    assert sink.kept[0].said == {} and sink.kept[1].said["segments"]


def test_the_final_is_asked_for_before_the_silence_is_over(tmp_path: Path) -> None:
    made = scripted(tmp_path)
    pcm = sentences(0, pause=0.0)

    async def spoken() -> MemorySink:
        sink = MemorySink()
        pipeline = made.pipeline(sink, **QUIET)
        await pipeline.feed(pcm)
        await quiet_until_asked(pipeline, tmp_path)
        assert calls(tmp_path) == 1 and not any(isinstance(event, SpeechEnd) for _, event in sink.events)
        await pipeline.feed(np.zeros(SAMPLE_RATE, np.int16))
        await pipeline.finish()
        await pipeline.close()
        return sink

    sink = asyncio.run(spoken())
    assert calls(tmp_path) == 1 and len(sink.finals) == 1 and sink.finals[0].text


def test_a_pause_that_was_none_holds_up_nothing(tmp_path: Path) -> None:
    """The final that was asked for in it is never there; the utterance goes on, and has its own."""
    made = scripted(tmp_path, Rule(kind="hang", calls=(1,)))

    async def spoken() -> MemorySink:
        sink = MemorySink()
        pipeline = made.pipeline(sink, **QUIET)
        await pipeline.feed(sentences(0, pause=0.0))
        await quiet_until_asked(pipeline, tmp_path)
        assert calls(tmp_path) and not any(isinstance(event, SpeechEnd) for _, event in sink.events)
        await pipeline.feed(sentences(1, pause=0.0))
        await pipeline.feed(np.zeros(SAMPLE_RATE, np.int16))
        await pipeline.finish()
        await pipeline.close()
        return sink

    sink = asyncio.run(spoken())
    (final,) = sink.finals
    assert final.text and final.error is None and calls(tmp_path) >= 2


def test_flush_ends_what_is_open(tmp_path: Path) -> None:
    made = scripted(tmp_path)

    async def flushed() -> MemorySink:
        sink = MemorySink()
        pipeline = made.pipeline(sink, **QUIET)
        await pipeline.feed(sentences(0, pause=0.2)[: 2 * SAMPLE_RATE])
        await pipeline.flush()
        assert any(isinstance(event, SpeechEnd) for _, event in sink.events)
        await pipeline.finish()
        await pipeline.close()
        return sink

    assert len(asyncio.run(flushed()).finals) == 1


def test_an_engine_that_does_not_keep_up_stops_the_feeding_and_at_last_the_stream(tmp_path: Path) -> None:
    made = scripted(tmp_path, Rule(kind="hang"))
    with pytest.raises(LiveBehind):
        asyncio.run(made.play(sentences(*range(12)), patience=0.3, **QUIET))


def test_a_sink_that_fails_ends_the_stream(tmp_path: Path) -> None:
    class Full(MemorySink):
        async def keep(self, utterances: Sequence[StoredUtterance], *, acked: int) -> None:
            if utterances:
                raise OSError("no room")

    made = scripted(tmp_path)

    async def fed() -> None:
        pipeline = made.pipeline(Full(), **QUIET)
        try:
            await pipeline.feed(sentences(0, 1))
            await pipeline.finish()
        finally:
            await pipeline.close()

    with pytest.raises(OSError, match="no room"):
        asyncio.run(fed())


class Reversing:
    """Says texts backwards, but for the second."""

    name = "reversing"

    def can(self, source: str | None, target: str) -> bool:
        return True

    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        before: Sequence[str] = (),
        cancel: Cancel | None = None,
    ) -> list[str]:
        if len(before) == 1:
            raise NotAvailable("no such words")
        return [text[::-1] for text in texts]


def test_finals_are_translated_and_a_failure_is_told(tmp_path: Path) -> None:
    who = {"translators": Translators([Reversing()]), "translates": False}
    sink = asyncio.run(scripted(tmp_path).play(sentences(0, 1, 2), params={"translate_to": "de"}, **who, **QUIET))
    told = [event for _, event in sink.events if isinstance(event, Translation)]
    assert [one.utterance for one in told] == [0, 1, 2]
    assert told[0].text == sink.finals[0].text[::-1] and told[2].text == sink.finals[2].text[::-1]
    assert told[1].text is None and told[1].error == NotAvailable.code
    assert [one.translation for one in sink.kept] == [one.to_dict() for one in told]
    order: list[Event] = [event for _, event in sink.events]
    assert all(order.index(sink.finals[one.utterance]) < order.index(one) for one in told)


def test_the_model_itself_translates_to_english_from_the_sound(engine: Streams) -> None:
    pcm, truth = audio_bank.speech(0.1, 4, "de")
    asked = {"params": {"language": "de", "translate_to": "en"}, "stream": {"partials": False}}
    sink = asyncio.run(engine.play(pcm, translators=Translators([SPOKEN]), translates=True, **asked))
    told = [event for _, event in sink.events if isinstance(event, Translation)]
    assert sink.text == truth["text"]
    assert [one.utterance for one in told] == [final.utterance for final in sink.finals if final.text]
    # of the demo model that is German again: what counts is that the sound was decoded once more, by the other task
    assert all(one.text and one.error is None for one in told)


def test_everything_that_is_kept_can_be_stored_as_json(heard: MemorySink) -> None:
    for one in heard.kept:
        for value in (one.chunk, one.said, one.final):
            assert json.loads(json.dumps(value))
