"""Known speakers of one job: what each sounds like, from a sample or as it was kept."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass

import numpy as np

from core.audio.decoder import Decoder, PcmSpool
from core.audio.samples import Pcm
from core.errors import JobError
from core.jobs.known_speakers import asked_samples, asked_voices, unpacked
from whisper.speakers.diarizer import WholeAudio
from whisper.speakers.voices import SpeakerBounds, Vectors
from worker.context.work import Work

log = logging.getLogger(__name__)

LONGEST = 30.0
"""Seconds of a sample."""
LEAST_SPEECH = 1.0
"""Seconds of speech in it: what is shorter is told apart with an error rate of 4 % and more."""

NOT_COMPARED = "what looked for speakers here does not say what voices sound like"


class Unusable(Exception):
    """Why somebody cannot be known, in words for the user."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """names and vectors, shape (names, 192), of those that can be compared; remarks: on the others, and on samples"""

    names: list[str]
    vectors: Vectors
    remarks: list[str]


def known_of(work: Work, embedding: str) -> Known:
    """Who is known in a job, as far as that can be compared with vectors of that embedding.

    Raises what engine, store and object store raise, and Interrupted.
    """
    asked = work.job.params.known_speakers or []
    samples = _samples(work) if asked_samples(asked) else {}
    kept = work.parts.store.voices_of(work.job.owner).named(asked_voices(asked)) if asked_voices(asked) else {}
    names, vectors, remarks = list[str](), list[Vectors](), list[str]()
    for one in asked:
        name = one["name"]
        try:
            if "sample" in one:
                vector, remark = _heard(work, samples.get(one["sample"]), embedding)
                remarks += [f"{name}: {remark}"] if remark else []
            else:
                voice = kept.get(one["voice"])
                if voice is None:
                    raise Unusable("the voice has been deleted")
                if not embedding:
                    raise Unusable(NOT_COMPARED)
                if voice.embedding != embedding:
                    raise Unusable("the voice was kept by another version: keep it once more")
                vector = np.array(voice.vector, np.float32)
        except Unusable as error:
            remarks.append(f"{name}: {error}")
            continue
        names.append(name)
        vectors.append(vector)
    return Known(names=names, vectors=np.stack(vectors) if vectors else np.zeros((0, 0), np.float32), remarks=remarks)


def _samples(work: Work) -> dict[str, bytes]:
    try:
        with work.parts.objects.open(work.job.samples_key or "") as data:
            return unpacked(data)
    except (KeyError, ValueError) as error:
        log.warning("The samples of known speakers cannot be read: %r", error)
        return {}


def _heard(work: Work, sample: bytes | None, embedding: str) -> tuple[Vectors, str]:
    """What the voice in a sample sounds like, and what is to be said of it."""
    if sample is None:
        raise Unusable("the sample is gone")
    pcm = _decoded(work, sample)
    found = work.parts.diarizer.diarize(WholeAudio(pcm), SpeakerBounds(), work.call("sample"), quiet=lambda: False)
    spoken = [0.0] * len(found.voices)
    for turn in found.turns:
        spoken[turn.voice] += turn.end - turn.start
    if max(spoken, default=0.0) < LEAST_SPEECH:
        raise Unusable("there is less than a second of speech in the sample")
    if not embedding or found.embedding != embedding:
        raise Unusable(NOT_COMPARED)
    more = "there is more than one voice in the sample (the one that speaks longest counts)" if len(spoken) > 1 else ""
    return found.voices[int(np.argmax(spoken))], more


def _decoded(work: Work, sample: bytes) -> Pcm:
    spool = work.folder / "sample.s16le"
    decoder = Decoder(work.parts.ffmpeg, max_seconds=LONGEST, nice=work.parts.settings.nice)
    try:
        audio = decoder.decode(io.BytesIO(sample), spool, cancel=work.cancel)
        with PcmSpool(spool) as pcm:
            return pcm.read(0, audio.samples)
    except JobError as error:
        if error.code == "audio_too_long":
            raise Unusable(f"the sample is longer than {LONGEST:.0f} s") from error
        raise Unusable(f"the sample cannot be used: {error.message}") from error
    finally:
        spool.unlink(missing_ok=True)
