"""What was final in a live stream is not heard again when the stream has become a job: each utterance is one of its finished
chunks, and planning goes on behind the last of them.

It is one write under the job's lease, and nothing while there is any chunk: whoever dies before it leaves it to the next owner,
who finds the same utterances; a stream's rows stay until there are chunks (`Streams.removable_sessions`).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from core.audio.samples import SAMPLE_RATE
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.live.sessions import StoredUtterance
from core.speech.chunks import Chunk, in_one_row
from core.speech.planner import OVERLAP_MOST
from core.system.crashpoints import reached
from core.transcript.values import Language
from whisper.types import ChunkTranscript
from worker.context.work import Work

log = logging.getLogger(__name__)

Said = tuple[Chunk, ChunkTranscript | None]
"""None: the utterance could not be recognised when it was spoken, and is heard again."""


def take_over(work: Work) -> bool:
    """Store what was final as finished chunks; whether there was any. Raises LeaseLost.

    Not of a retry, whose chunks are those of the job that it retries, nor of one that is to hear cleaned sound.
    """
    store, job = work.parts.store, work.job
    found = work.patiently(lambda: store.finals_of(job.id))
    if not found or job.params.is_cleaned:
        return False
    numbers = [0, 1] if job.params.channels == "split" else [None]
    said = in_chunks(found, numbers)
    if not any(transcript for _, transcript in said):
        return False
    if job.language is None and job.params.language is None:
        # first, for nobody comes here again once there are chunks
        language = spoken(said)
        work.learn(language=language.code, language_confidence=language.confidence)
    tasks = [
        Task(
            stage=TRANSCRIBE,
            number=chunk.index,
            plan=chunk.to_dict(),
            state=TaskState.DONE if transcript else TaskState.PLANNED,
            output=transcript.to_dict() if transcript else None,
            identity=work.identities[TRANSCRIBE],
            engine_seconds=transcript.engine_seconds if transcript else 0.0,
            audio_seconds=(chunk.end - chunk.start) / SAMPLE_RATE / len(numbers),
        )
        for chunk, transcript in said
    ]
    work.patiently(lambda: store.plan(work.claim, tasks))
    reached("after_plan")
    log.info("Took over %d utterances of the stream", len(tasks))
    return True


def in_chunks(found: Sequence[StoredUtterance], numbers: Sequence[int | None]) -> list[Said]:
    """The utterances as the beginning of a plan: owned spans that follow one another from 0 on, in each channel.

    numbers: of the channels; [None] where there is one. Silence between two utterances goes to the second. Where one was cut
    through speech, its text and the next one's fit together already (`worker.live.seam`): no seam is left to be stitched
    but the one behind the last.
    """
    by_channel: dict[int | None, list[Said]] = {number: [] for number in numbers}
    for one in sorted(found, key=lambda one: (one.start, one.number)):
        chunk = Chunk.from_dict(dict(one.chunk))
        if chunk.channel not in by_channel:
            return []
        before = by_channel[chunk.channel]
        start = before[-1][0].end if before else 0
        if chunk.end <= start:
            log.warning("Utterance %d lies before the end of another one; it is left out", one.number)
            continue
        if before:
            before[-1] = replace(before[-1][0], overlap_after=0), before[-1][1]
        chunk = replace(chunk, start=start, overlap_before=0)
        before.append((chunk, ChunkTranscript.from_dict(dict(one.said)) if one.said else None))
    ends = [said[-1][0].end if said else 0 for said in by_channel.values()]
    planned = [[chunk for chunk, _ in said] for said in by_channel.values()]
    row = in_one_row(planned, first=0, hears_from=max(0, min(ends) - OVERLAP_MOST))
    transcripts = {(chunk.channel, chunk.start): what for said in by_channel.values() for chunk, what in said}
    return [(chunk, transcripts[chunk.channel, chunk.start]) for chunk in row]


def spoken(said: Sequence[Said]) -> Language:
    """The language of most of what was said, by how long each utterance is."""
    heard: defaultdict[str, float] = defaultdict(float)
    for chunk, transcript in said:
        if transcript is None:
            continue
        for code, probability in (transcript.languages or {transcript.language: 1.0}).items():
            heard[code] += chunk.samples * probability
    code = max(heard, key=lambda one: heard[one])
    return Language(code=code, confidence=round(heard[code] / max(1, sum(chunk.samples for chunk, _ in said)), 4))
