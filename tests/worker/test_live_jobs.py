"""Streams that have become jobs: what was final is not heard again, the rest is, and the file is there; whoever dies."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Region
from core.jobs.job import Job, new_id
from core.jobs.params import JobParams
from core.jobs.tasks import TaskState
from core.live.options import StreamOptions
from core.live.sessions import NewSession, SessionLease, StoredUtterance
from core.objects.local import LocalObjects
from core.objects.store import piece_key, stream_folder
from core.queue.hints import MemoryHints
from core.queue.sweeper import Sweeper
from core.speech.chunks import Chunk
from core.store.sql import SqlStore
from core.submission.origins import Origins
from core.submission.retry import retry
from core.transcript.merge import Merger, Piece
from testbed import audio_bank
from testbed.verdicts import engine_dir
from tests.core.store_kit import open_store
from tests.worker.kit import Kit
from whisper import DEMO_MODEL
from whisper.engine.host_engine import HostEngine
from whisper.engine.manager_process import start_manager
from whisper.engine.transcriber import WhisperTranscriber
from whisper.types import Call, ChunkTranscript, LanguageGuess, TranscribeOptions
from worker.stages.preparation.finals_of_stream import in_chunks, spoken

AROUND = SAMPLE_RATE // 5
"""Of silence that an utterance has on each side; what lies between two of them no utterance answers for."""


class Counting:
    """The real engine; `asked` are the labels of its calls."""

    hears_languages = True

    def __init__(self, engine: HostEngine) -> None:
        self._engine, self._lock = engine, threading.Lock()
        self.asked: list[str] = []

    def transcribe(
        self, model: str, pcm: NDArray[np.int16], options: TranscribeOptions, call: Call = Call()
    ) -> ChunkTranscript:
        with self._lock:
            self.asked.append(call.label.split("/")[0])
        return self._engine.transcribe(model, pcm, options, call)

    def detect_language(self, model: str, pcm: NDArray[np.int16], call: Call = Call()) -> LanguageGuess:
        with self._lock:
            self.asked.append("language")
        return self._engine.detect_language(model, pcm, call)

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True)
class Spoken:
    """What was streamed, as samples, and its finals in order."""

    pcm: NDArray[np.int16]
    finals: list[StoredUtterance]
    text: str

    @property
    def texts(self) -> list[str]:
        return [str(one.final["text"]) for one in self.finals]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    folder = tmp_path_factory.mktemp("engine")
    manager = start_manager(folder / "m.sock", workers=2, engine_dir=engine_dir())
    engine = Counting(HostEngine(folder / "m.sock"))
    yield engine
    engine.close()
    manager.terminate()
    manager.wait(10)


@pytest.fixture(scope="module")
def stream(engine: Counting) -> Spoken:
    """Half a minute, each sentence an utterance."""
    pcm, truth = audio_bank.speech(minutes=0.4, seed=5, gap=(0.6, 1.2))
    finals = []
    for number, said in enumerate(truth["utterances"]):
        start = round(said["start"] * SAMPLE_RATE) - AROUND
        end = round(said["end"] * SAMPLE_RATE) + AROUND
        speech = Region(start=start + AROUND, end=end - AROUND)
        chunk = Chunk(index=number, start=start, end=end, regions=(Region(start=start, end=end),), speech=(speech,))
        options = TranscribeOptions(language="en", word_timestamps=True, fit_context=True)
        heard = engine.transcribe(str(DEMO_MODEL), pcm[start:end], options)
        finals.append(
            StoredUtterance(
                number=number,
                start=start,
                end=end,
                chunk=chunk.to_dict(),
                said=heard.to_dict(),
                final={"utterance": number, "text": heard.text},
            )
        )
    return Spoken(pcm=pcm, finals=finals, text=truth["text"])


@pytest.fixture
def kit(tmp_path: Path, engine: Counting) -> Kit:
    made = Kit(tmp_path, fit_context=True)
    engine.asked.clear()
    made.parts = replace(made.parts, transcriber=WhisperTranscriber(engine, made.parts.transcriber.downloader))
    return made


def send(
    kit: Kit, audio: bytes, finals: Sequence[StoredUtterance], *, params: dict[str, Any] | None = None, **options: Any
) -> tuple[SessionLease, Job]:
    """A stream as its process leaves it, and the job that it has become."""
    job = JobParams(**{"model": "demo"} | (params or {}))
    new = NewSession(id=new_id(), owner=None, options=StreamOptions(**options), params=job.to_dict())
    lease = kit.store.begin_session(new, consumer="here", lease_seconds=30)
    size = 100_001 if options.get("encoding") == "container" else 200_000
    for start in range(0, len(audio), size):
        piece, key = audio[start : start + size], piece_key(new.id, start, lease.fence)
        kit.objects.put(key, io.BytesIO(piece))
        lease = kit.store.keep_piece(lease, start=start, size=len(piece), key=key)
    for final in finals:
        lease = kit.store.keep_utterances(lease, [final], acked=final.end)
    job_id = kit.store.end_session(lease)
    assert job_id is not None
    return lease, kit.store.get(job_id)


def sweep(kit: Kit) -> None:
    Sweeper(kit.store, kit.objects, MemoryHints(), interval=5, max_attempts=3).sweep_once()


def texts(result: dict[str, Any]) -> list[str]:
    return [segment["text"] for segment in result["segments"]]


def test_what_was_final_is_the_transcript(kit: Kit, stream: Spoken, engine: Counting) -> None:
    lease, job = send(kit, stream.pcm.tobytes(), stream.finals, name="Jour fixe", params={"word_timestamps": True})
    assert kit.run() == "completed"
    result, done = kit.result(job), kit.job(job)
    assert texts(result) == stream.texts
    (tail,) = kit.chunks(job)[len(stream.finals) :]
    assert engine.asked == [], "nothing is heard again, and no language asked for"
    assert (tail.plan or {})["regions"] == [] and tail.output is None
    assert done.source.origin is None and done.source.filename == "Jour fixe.wav"
    with kit.objects.open(done.source.key) as stored:
        file = stored.read()
    assert file[44:] == stream.pcm.tobytes() and hashlib.sha256(file).hexdigest() == done.source.sha256
    assert done.duration == len(stream.pcm) / SAMPLE_RATE and not done.partial and not done.warnings
    assert done.language == "en" and (done.language_confidence or 0) > 0.5
    assert done.chunks_done == len(stream.finals) + 1
    assert done.audio_seconds_done == pytest.approx(done.duration)
    words = [word["word"] for segment in result["segments"] for word in segment["words"]]
    assert " ".join(words) == " ".join(stream.texts)
    assert result["provenance"]["library"] == stream.finals[0].said["engine"]["library"]
    told = Merger()  # as who follows the job is told
    chunks = kit.store.ended_chunks(job.id, first=0, limit=99)
    pieces = [(Chunk.from_dict(one.plan or {}), one.output) for one in chunks]
    segments = [
        segment
        for chunk, output in pieces
        for segment in (
            told.skip(chunk)
            if output is None
            else told.add(Piece(chunk=chunk, segments=ChunkTranscript.from_dict(output).segments))
        )
    ]
    assert [segment.text for segment in (*segments, *told.finish())] == stream.texts
    sweep(kit)
    assert kit.store.known_sessions([lease.session.id]) == set()
    assert list(kit.objects.keys(stream_folder(lease.session.id))) == []


def test_what_could_not_be_recognised_when_it_was_spoken_is_heard_again(
    kit: Kit, stream: Spoken, engine: Counting
) -> None:
    finals = [replace(one, said={}) if one.number == 1 else one for one in stream.finals]
    _, job = send(kit, stream.pcm.tobytes(), finals)
    assert kit.run() == "completed"
    assert texts(kit.result(job)) == stream.texts and len(engine.asked) == 1


def test_what_was_not_final_yet_is_heard_as_of_any_file(kit: Kit, stream: Spoken, engine: Counting) -> None:
    some = len(stream.finals) * 2 // 3
    _, job = send(kit, stream.pcm.tobytes(), stream.finals[:some])
    assert kit.run() == "completed"
    result = kit.result(job)
    assert texts(result)[:some] == stream.texts[:some]
    assert min(int(label.removeprefix("chunk ")) for label in engine.asked) == some + 1
    heard, meant = (" ".join(text.lower().replace(".", "").split()) for text in (" ".join(texts(result)), stream.text))
    assert heard == meant and not kit.job(job).warnings
    assert all(task.state is TaskState.DONE for task in kit.chunks(job))


def test_a_refined_one_is_heard_as_a_whole(kit: Kit, stream: Spoken, engine: Counting) -> None:
    _, job = send(kit, stream.pcm.tobytes(), stream.finals, refine=True)
    assert kit.run() == "completed"
    assert "chunk 1" in engine.asked
    with kit.objects.open(kit.job(job).source.key) as stored:
        uploaded = kit.submit(stored.read())
    assert kit.run() == "completed"
    assert kit.result(job)["segments"] == kit.result(uploaded)["segments"]
    assert kit.job(job).plan_hash == kit.job(uploaded).plan_hash


@pytest.mark.parametrize(
    ("form", "media_type"),
    [(("-c:a", "libopus", "-f", "webm"), "audio/webm"), (("-c:a", "libopus", "-f", "ogg"), "audio/ogg")],
)
def test_a_container_is_kept_as_it_came(
    kit: Kit, stream: Spoken, engine: Counting, form: tuple[str, ...], media_type: str
) -> None:
    raw = ("-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "pipe:0")
    audio = audio_bank.ffmpeg(*raw, *form, "pipe:1", stdin=stream.pcm.tobytes())
    # the decoder of the stream may find a little more at its end than that of the file
    last = stream.finals[-1]
    longer = len(stream.pcm) + 2_000
    finals = [*stream.finals[:-1], replace(last, end=longer, chunk={**last.chunk, "end": longer})]
    _, job = send(kit, audio, finals, encoding="container")
    assert kit.run() == "completed"
    done = kit.job(job)
    assert (done.source.bytes, done.source.media_type) == (len(audio), media_type)
    assert done.source.sha256 == hashlib.sha256(audio).hexdigest()
    assert texts(kit.result(job)) == stream.texts and engine.asked == []


def test_two_channels_are_two_speakers(kit: Kit, stream: Spoken, engine: Counting) -> None:
    pcm = np.zeros((len(stream.pcm), 2), np.int16)
    finals = []
    for one in stream.finals:
        channel = one.number % 2
        pcm[one.start : one.end, channel] = stream.pcm[one.start : one.end]
        finals.append(replace(one, chunk={**one.chunk, "channel": channel, "watermark": 0}))
    _, job = send(kit, pcm.tobytes(), finals[:-2], channels=2)
    assert kit.run() == "completed"
    result = kit.result(job)
    assert [segment["channel"] for segment in result["segments"]][:-2] == [one.number % 2 for one in finals[:-2]]
    assert texts(result)[: len(finals) - 2] == stream.texts[:-2]
    assert len(result["segments"]) == len(finals) and kit.job(job).params.channels == "split"


class Dying:
    """A store whose process is killed at a call, before or after it is done."""

    def __init__(self, store: SqlStore, method: str, *, after: bool) -> None:
        self._store, self._method, self._after = store, method, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._method:
            return method

        def die(*args: Any, **more: Any) -> None:
            if self._after:
                method(*args, **more)
            os.kill(os.getpid(), signal.SIGKILL)

        return die


def in_files(kit: Kit) -> Kit:
    """The same consumer on tables and objects that other processes see."""
    kit.store.close()
    kit.store = open_store(f"sqlite:///{kit.folder}/jobs.db", None)
    kit.objects = LocalObjects(kit.folder / "objects")  # type: ignore[assignment]
    origins = Origins(objects=kit.objects, streams=kit.store.stream_audio)
    kit.parts = replace(kit.parts, store=kit.store, objects=kit.objects, origins=origins)
    return kit


def test_whoever_is_killed_nothing_is_done_twice_or_lost(kit: Kit, stream: Spoken, engine: Counting) -> None:
    kit = in_files(kit)
    some = len(stream.finals) - 1
    lease, job = send(kit, stream.pcm.tobytes(), stream.finals[:some])
    whole = kit.parts
    for method, after in (
        ("brought", False),
        ("brought", True),
        ("finals_of", False),
        ("plan", False),
        ("plan", True),
        ("finish", False),
    ):
        kit.parts = replace(whole, store=Dying(kit.store, method, after=after))
        process = multiprocessing.get_context("fork").Process(target=run_only, args=(kit,))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, (method, after)
        kit.store.free_owner(kit.job(job).lease_owner or "")
        sweep(kit)
        kept = kit.store.known_sessions([lease.session.id])
        assert bool(kept) == (not kit.chunks(job)), "as long as it is needed"
        # a job that gets no further is given up after a few crashes, which is not what this is about
        with kit.store.database.write() as connection:
            connection.exec_driver_sql("UPDATE job SET strikes = 0")
    asked = len(kit.chunks(job)) - some
    assert asked > 0 and all(task.ended for task in kit.chunks(job)), "the last one that was killed had all but the end"
    kit.parts = whole
    assert kit.run() == "completed"
    assert engine.asked == [], "whoever goes on hears nothing again"
    assert texts(kit.result(job))[:some] == stream.texts[:some]
    numbers = [task.number for task in kit.chunks(job)]
    assert numbers == list(range(some + asked))
    sweep(kit)
    assert list(kit.objects.keys("live/")) == []
    kit.store.close()


def run_only(kit: Kit) -> None:
    """In a process of its own; it does not come back."""
    kit.run()
    os._exit(0)


def test_a_retry_takes_over_what_the_job_had_and_all_of_it_anew_only_if_asked(
    kit: Kit, stream: Spoken, engine: Counting
) -> None:
    whole = kit.parts
    kit.parts = replace(whole, settings=replace(whole.settings, max_audio_seconds=1))
    _, job = send(kit, stream.pcm.tobytes(), stream.finals)
    assert kit.run() == "failed audio_too_long" and len(kit.chunks(job)) == len(stream.finals)
    sweep(kit)
    kit.parts = whole
    again = retry(kit.store, job.id, everything=False)
    assert kit.run() == "completed"
    assert texts(kit.result(again)) == stream.texts and engine.asked == []
    assert kit.job(again).language == "en"
    anew = retry(kit.store, job.id, everything=True)
    assert kit.run() == "completed"
    assert "chunk 1" in engine.asked and len(kit.chunks(anew)) < len(stream.finals)


def test_utterances_become_spans_that_follow_one_another(stream: Spoken) -> None:
    late = [replace(one, number=9 - one.number) for one in stream.finals[:3]]
    cut = [{**one.chunk, "overlap_before": 900, "overlap_after": 800} for one in late]
    cut[1]["start"] = cut[0]["end"]
    doubled = replace(late[2], number=10, start=late[2].start + 1)
    found = in_chunks([*(replace(one, chunk=chunk) for one, chunk in zip(late, cut, strict=True)), doubled], [None])
    chunks = [chunk for chunk, _ in found]
    assert [chunk.start for chunk in chunks] == [0, *(chunk.end for chunk in chunks[:-1])]
    assert [chunk.index for chunk in chunks] == [0, 1, 2]
    assert [(chunk.overlap_before, chunk.overlap_after) for chunk in chunks] == [(0, 0), (0, 0), (0, 800)]
    assert in_chunks(late, [0, 1]) == [], "of a stream that was heard otherwise"
    assert spoken(found).code == "en"
    other = ChunkTranscript.from_dict({**found[0][1].to_dict(), "language": "de", "languages": {}})
    assert spoken([(chunks[0], other)]).code == "de"
