"""Voices become names where they sound like somebody who is known; what hinders that costs a remark and no word."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.jobs.job import Job, NewJob, Source
from core.jobs.known_speakers import packed
from core.jobs.params import JobParams
from core.jobs.tasks import TaskState
from core.objects.store import samples_key, source_key
from core.transcript.formats import from_result
from core.transcript.values import Transcript
from tests.worker.kit import Kit
from tests.worker.test_diarize import recording, talk
from whisper.engine.host_diarizer import TurnsDiarizer
from whisper.engine.scripted import Rule
from whisper.speakers.pipeline import EMBEDDING
from whisper.speakers.scripted import ScriptedNetworks
from worker.stages.diarize import DIARIZE, KNOWN

__all__ = ["talk"]


def pcm(hertz: float, seconds: float) -> Pcm:
    """The voice that is this tone."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(2).normal(0, 20, len(t))
    return (3000 * np.sin(2 * np.pi * hertz * t) + noise).astype(np.int16)


def tone(hertz: float, seconds: float) -> bytes:
    """A sample of it."""
    return recording(pcm(hertz, seconds))


class Counting(ScriptedNetworks):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.heard = 0

    def voice(self, piece: Pcm) -> NDArray[np.float32]:
        self.heard += 1
        return super().voice(piece)


def kit(folder: Path, networks: ScriptedNetworks | None = None, *rules: Rule, **settings: Any) -> Kit:
    made = Kit(folder, *rules, chunk_strategy="fixed", **settings)
    used = networks or ScriptedNetworks()
    made.parts = replace(made.parts, diarizer=TurnsDiarizer(lambda call, quiet: used, width=2))
    return made


def submit(made: Kit, data: bytes, samples: dict[str, bytes], kept: tuple[str, ...] = (), **more: Any) -> Job:
    """samples: by name; they are called after that, too"""
    job_id = f"0198f3c2-0000-7000-8000-{len(made.store.list()[0]):012x}"
    made.objects.put(source_key(job_id), io.BytesIO(data))
    key = None
    if samples:
        key = samples_key(job_id)
        made.objects.put(key, io.BytesIO(packed({f"sha256:{name}": sample for name, sample in samples.items()})))
    source = Source(
        filename="talk.wav",
        bytes=len(data),
        media_type="audio/wav",
        sha256=hashlib.sha256(data).hexdigest(),
        key=source_key(job_id),
    )
    known = [{"name": name, "sample": f"sha256:{name}"} for name in samples]
    known += [{"name": name, "voice": name} for name in kept]
    params = JobParams(model="demo", diarize=True, known_speakers=known)
    return made.store.create(NewJob(id=job_id, source=source, params=params, samples_key=key, **more))


def found(made: Kit, job: Job) -> Transcript:
    return from_result(made.result(job))


def names(transcript: Transcript) -> list[tuple[str, str]]:
    return [(one.id, one.name) for one in transcript.speakers or ()]


def remarks(made: Kit, job: Job) -> str:
    return next((w["message"] for w in made.store.get(job.id).warnings if w["code"] == KNOWN), "")


def test_who_is_known_is_called_by_name(tmp_path: Path, talk: bytes) -> None:
    made = kit(tmp_path)
    plain = made.submit(talk, diarize=True)
    job = submit(made, talk, {"Bert": tone(900, 3), "Carl": tone(3000, 3)})
    assert (made.run(), made.run()) == ("completed", "completed")
    transcript = found(made, job)
    assert names(transcript) == [("SPEAKER_00", "SPEAKER_00"), ("SPEAKER_01", "Bert")], "and Carl is not there"
    assert transcript.segments == found(made, plain).segments and not made.store.get(job.id).warnings
    assert transcript.provenance["voices"] == found(made, plain).provenance["voices"] == [0, 1]
    assert "embedding" not in str(transcript.provenance)


def test_one_voice_alone_is_called_by_its_name(tmp_path: Path) -> None:
    made = kit(tmp_path)
    job, other = (
        submit(made, tone(900, 12), {"Bert": tone(900, 3)}),
        submit(made, tone(900, 12), {"Anna": tone(200, 3)}),
    )
    assert (made.run(), made.run()) == ("completed", "completed")
    assert names(found(made, job)) == [("SPEAKER_00", "Bert")] and names(found(made, other)) == []


def test_a_voice_that_was_kept_is_known_in_another_job(tmp_path: Path, talk: bytes) -> None:
    made = kit(tmp_path)
    first = made.submit(talk, diarize=True)
    assert made.run() == "completed"
    voices = made.store.voices_of(None)
    kept = voices.keep("Bert", job_id=first.id, number=found(made, first).provenance["voices"][1])
    assert kept.embedding == EMBEDDING and len(kept.vector) == 192
    voices.keep("Anna", job_id=first.id, number=found(made, first).provenance["voices"][0])
    job, late = (submit(made, talk, {}, ("Bert", "Anna")) for _ in range(2))
    assert made.run() == "completed"
    assert [name for _, name in names(found(made, job))] == ["Anna", "Bert"]
    voices.remove("Anna")
    assert made.run() == "completed"
    assert [name for _, name in names(found(made, late))] == ["SPEAKER_00", "Bert"]
    assert remarks(made, late) == "Anna: the voice has been deleted"


def test_a_voice_of_another_version_is_not_compared(tmp_path: Path, talk: bytes) -> None:
    made = kit(tmp_path)
    first = made.submit(talk, diarize=True)
    assert made.run() == "completed"
    made.store.voices_of(None).keep("Anna", job_id=first.id, number=0)
    job = submit(made, talk, {"Bert": tone(900, 3)}, ("Anna",))
    with made.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE voice SET embedding = 'older'")
    assert made.run() == "completed"
    assert [name for _, name in names(found(made, job))] == ["SPEAKER_00", "Bert"]
    assert remarks(made, job) == "Anna: the voice was kept by another version: keep it once more"


def test_samples_that_say_nothing_cost_remarks(tmp_path: Path, talk: bytes) -> None:
    made = kit(tmp_path)
    samples = {
        "broken": b"RIFF\xff\xff\xff\x00WAVEfmt " + b"\x01" * 3000,
        "empty": recording(np.zeros(0, np.int16)),
        "quiet": recording(np.zeros(3 * SAMPLE_RATE, np.int16)),
        "short": tone(200, 0.8),
        "long": tone(200, 31),
        "both": recording(np.concatenate([pcm(200, 3), np.zeros(SAMPLE_RATE, np.int16), pcm(900, 5)])),
    }
    job = submit(made, talk, samples)
    assert made.run() == "completed"
    assert names(found(made, job)) == [("SPEAKER_00", "SPEAKER_00"), ("SPEAKER_01", "both")], "the longer one counts"
    said = dict(one.split(": ", 1) for one in remarks(made, job).split("; ") if ": " in one)
    assert said["broken"].startswith("the sample cannot be used") and said["empty"].startswith("the sample cannot")
    assert said["quiet"] == said["short"] == "there is less than a second of speech in the sample"
    assert said["long"] == "the sample is longer than 30 s"
    assert said["both"] == "there is more than one voice in the sample (the one that speaks longest counts)"


def test_samples_that_are_gone_cost_remarks(tmp_path: Path, talk: bytes) -> None:
    made = kit(tmp_path)
    job = submit(made, talk, {"Anna": tone(200, 3)})
    assert job.samples_key
    made.objects.delete(job.samples_key)
    assert made.run() == "completed"
    assert remarks(made, job) == "Anna: the sample is gone" and len(found(made, job).speakers or ()) == 2


def test_without_speakers_nobody_is_named(tmp_path: Path, talk: bytes) -> None:
    class Broken(ScriptedNetworks):
        def classes(self, window: Pcm) -> Any:
            raise RuntimeError("broken")

    made = kit(tmp_path, Broken())
    job = submit(made, talk, {"Anna": tone(200, 3)})
    assert made.run() == "completed"
    assert found(made, job).speakers is None and found(made, job).text
    assert [w["code"] for w in made.store.get(job.id).warnings] == ["diarize_failed"]


def test_what_was_found_is_not_looked_for_again(tmp_path: Path, talk: bytes) -> None:
    networks = Counting()
    made = kit(tmp_path, networks, Rule(kind="timeout", label="chunk 2/*"), chunk_fail_share=0.0)
    job = submit(made, talk, {"Bert": tone(900, 3), "Anna": b"no sound"})
    assert made.run() == "failed chunk_timeout"
    states = {task.stage: task.state for task in made.store.tasks(job.id) if task.stage in (DIARIZE, KNOWN)}
    assert states == {DIARIZE: TaskState.DONE, KNOWN: TaskState.DONE}
    heard = networks.heard
    made.script()
    made.store.create(made.store.get(job.id).again())
    assert made.run() == "completed"
    again = made.store.list()[0][0]
    assert networks.heard == heard and [name for _, name in names(found(made, again))] == ["SPEAKER_00", "Bert"]
    assert remarks(made, again).startswith("Anna: "), "what is to be said of it is said again"
