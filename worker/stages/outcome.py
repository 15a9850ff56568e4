"""From the tasks of finished chunks to the transcript, with its coverage audit and its provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from core.audio.samples import SAMPLE_RATE
from core.errors import ChunkFailed, ChunkTimeout, ServiceError
from core.jobs.job import Job
from core.jobs.tasks import Task, TaskState
from core.notices import Notice
from core.speech.chunks import Chunk
from core.transcript.coverage import Coverage, audit
from core.transcript.merge import Piece, merge
from core.transcript.values import Gap, Language, Segment, Transcript
from whisper.models.store import LOCAL, ValidModel
from whisper.types import ChunkTranscript
from worker.stages.language_vote import CLEAR, notices

UNKNOWN = Language(code="und", confidence=0.0)
"""ISO 639 for `undetermined`: a file without speech has no language."""


def assemble(
    job: Job,
    rows: Sequence[Task],
    *,
    language: Language | None,
    model: ValidModel,
    ffmpeg: str,
    fail_share: float,
    warnings: Sequence[dict[str, str]],
    performance: dict[str, Any],
) -> Transcript:
    """Merge, audit, and say where it all came from.

    Raises ChunkFailed or ChunkTimeout when more than `fail_share` of the chunks with speech failed, and
    ServiceError when the rows are no complete plan (which must never be called a transcript).
    """
    assert job.duration is not None
    chunks = [Chunk.from_dict(row.plan or {}) for row in rows]
    check_plan(chunks, round(job.duration * SAMPLE_RATE), [row.state for row in rows])
    failed = {row.number for row in rows if row.state is TaskState.FAILED}
    spoken = sum(1 for chunk in chunks if chunk.regions)
    if failed and len(failed) > fail_share * spoken:
        first = next(row.error or {} for row in rows if row.number in failed)
        kind = ChunkTimeout if first.get("code") == ChunkTimeout.code else ChunkFailed
        raise kind(f"{len(failed)} of {spoken} chunks failed. The first: {first.get('message', 'unknown')}")
    transcripts = {row.number: ChunkTranscript.from_dict(row.output) for row in rows if row.output is not None}
    if language is None and transcripts:
        # no window could be asked about its language, so each chunk detected its own
        code = Counter(said.language for said in transcripts.values()).most_common(1)[0][0]
        language = Language(code=code, confidence=0.0)
    merged = merge(Piece(chunk=chunks[i], segments=said.segments) for i, said in transcripts.items())
    coverage, channels = _audited(chunks, merged.segments, failed=failed, duration=job.duration)
    notes = [Notice(code=w["code"], message=w["message"]) for w in warnings] + list(merged.warnings)
    if not spoken:
        notes.append(Notice(code="no_speech", message="No speech was found in this file."))
    elif not merged.segments and not coverage.gaps:
        notes.append(
            Notice(
                code="no_text",
                message=f"Sound like speech was found ({coverage.speech_seconds:.1f} s), but no words in it.",
            )
        )
    notes += notices(
        merged.segments,
        language if spoken else None,
        asked=job.params.language,
        heard=_heard(transcripts.values()),
        multilingual=model.info.multilingual,
    )
    if job.params.model.startswith(LOCAL):
        notes.append(
            Notice(
                code="model_unpinned",
                message=f"{job.params.model} is a file of your own: it was held against no checksum.",
            )
        )
    alone = _alone(chunks)
    return Transcript(
        segments=tuple(replace(segment, channel=None) for segment in merged.segments) if alone else merged.segments,
        language=language if spoken and language else UNKNOWN,
        duration=round(job.duration, 3),
        model=job.params.model,
        task=job.params.task,
        word_timestamps=job.params.shows_words,
        gaps=tuple(replace(gap, channel=None) for gap in coverage.gaps) if alone else coverage.gaps,
        warnings=tuple(notes),
        performance=performance,
        provenance={
            **_library(transcripts.values()),
            "model_sha256": model.sha256,
            "ffmpeg": ffmpeg,
            "chunks": len(rows),
            "temperature": job.params.temperature,
            "coverage": {
                "audio_seconds": round(coverage.audio_seconds, 3),
                "speech_seconds": coverage.speech_seconds,
                "transcribed_seconds": coverage.transcribed_seconds,
            }
            | ({} if alone or not channels else {"channels": channels}),
        },
    )


def _library(transcripts: Iterable[ChunkTranscript]) -> dict[str, str]:
    """What most of the text was made by: a job may have gone on under another version. "" without any speech."""
    made_by = Counter((said.engine.get("library", ""), said.engine.get("version", "")) for said in transcripts)
    (library, version), _ = made_by.most_common(1)[0] if made_by else (("", ""), 0)
    return {"library": library, "library_version": version}


def _heard(transcripts: Iterable[ChunkTranscript]) -> Counter[str]:
    """Chunks by the language that each clearly was."""
    best = (max(t.languages.items(), key=lambda one: one[1]) for t in transcripts if t.languages)
    return Counter(code for code, probability in best if probability >= CLEAR)


def _audited(
    chunks: Sequence[Chunk], segments: Sequence[Segment], *, failed: Collection[int], duration: float
) -> tuple[Coverage, list[dict[str, float]]]:
    """Of all channels together, and of each where there are several: seconds."""
    found = {
        channel: audit(chunks, segments, failed=failed, duration=duration, channel=channel)
        for channel in sorted({chunk.channel for chunk in chunks}, key=lambda channel: channel or 0)
    }
    if not found or None in found:
        return found.get(None) or audit(chunks, segments, failed=failed, duration=duration), []
    gaps: list[Gap] = sorted((gap for one in found.values() for gap in one.gaps), key=lambda gap: gap.start)
    each = [
        {"channel": channel or 0, "speech_seconds": one.speech_seconds, "transcribed_seconds": one.transcribed_seconds}
        for channel, one in found.items()
    ]
    together = Coverage(
        audio_seconds=duration,
        speech_seconds=round(sum(one.speech_seconds for one in found.values()), 3),
        transcribed_seconds=round(sum(one.transcribed_seconds for one in found.values()), 3),
        gaps=tuple(gaps),
    )
    return together, each


def _alone(chunks: Iterable[Chunk]) -> bool:
    """Whether one channel was listened to, and all others are the same: then it is as if they had been mixed."""
    return len({chunk.channel for chunk in chunks if chunk.regions or chunk.speech is not None}) == 1


def check_plan(chunks: Sequence[Chunk], samples: int, states: Sequence[TaskState]) -> None:
    """Invariant I3: indexes 0..n-1, nothing left undone, owned spans (of each channel) that follow one another from 0 to the
    end."""
    ends: dict[int | None, int] = {}
    for n, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
        if chunk.index != n or chunk.start != ends.get(chunk.channel, 0) or state is TaskState.PLANNED:
            raise ServiceError(f"The stored plan is broken at chunk {n}; this is a defect.")
        ends[chunk.channel] = chunk.end
    for end in ends.values() or [0]:
        if end != samples:
            raise ServiceError(f"The stored plan ends at sample {end} of {samples}; this is a defect.")
