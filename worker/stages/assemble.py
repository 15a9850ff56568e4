"""From all that the other stages gave to the stored transcript: the job's end."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace

from core.jobs.job import Phase
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.notices import Notice
from core.objects.store import result_key
from core.system.crashpoints import reached
from core.transcript.formats import to_result
from core.transcript.speakers.labels import labelled
from worker.context.stage import Lane, Output, Stage
from worker.context.work import Work
from worker.stages.diarize import DIARIZE, KNOWN, forget_checkpoints, names_of, turns_of
from worker.stages.enhance import ENHANCE, kept
from worker.stages.outcome import assemble
from worker.stages.words.align import ALIGN, aligned, is_aligned
from worker.stages.words.translation import SPOKEN_TRANSLATION, TRANSLATION, is_translated, translated


class AssembleStage(Stage):
    """others: all stages whose tasks must have ended before"""

    name = "assemble"
    lane = Lane.IO
    stored = False  # the job's end says it

    def __init__(self, others: Sequence[Stage]) -> None:
        self.needs = tuple(stage.name for stage in others)

    def due(self, work: Work) -> bool:
        return True

    def run(self, work: Work, task: Task) -> Output:
        parts = work.parts
        chunks = work.tasks(TRANSCRIBE)
        work.show(
            Phase.MERGING,
            eta_seconds=0.0,
            chunks_done=len(chunks),
            audio_seconds_done=sum(chunk.audio_seconds for chunk in chunks),
        )
        reached("before_result")
        job = parts.store.get(work.job.id)
        performance = work.report.performance(job, chunks, work.unaccounted_seconds)
        if work.for_words_too is not None:
            performance[ENHANCE] = kept(chunks)
        outcome = assemble(
            job,
            chunks,
            language=work.language,
            model=work.model,
            ffmpeg=parts.ffmpeg.version,
            fail_share=parts.settings.chunk_fail_share,
            warnings=work.warnings,
            performance=performance,
        )
        if is_translated(work):
            assert job.params.translate_to
            outcome = translated(
                outcome, chunks, work.tasks(TRANSLATION), work.tasks(SPOKEN_TRANSLATION), job.params.translate_to
            )
        if is_aligned(job.params):
            outcome = aligned(outcome, chunks, work.tasks(ALIGN))
        for found in work.tasks(DIARIZE) if job.params.diarize else ():
            if found.state is TaskState.DONE:
                names, remarks = names_of(work.tasks(KNOWN) if job.params.known_speakers else ())
                outcome = labelled(outcome, turns_of(found), names)
                if remarks:
                    outcome = replace(outcome, warnings=(*outcome.warnings, Notice(code=KNOWN, message=remarks)))
        # the fence is in the key: an owner whose lease was lost cannot overwrite the result of its successor
        key = result_key(job.id, work.claim.fence)
        data = json.dumps(to_result(outcome), ensure_ascii=False).encode()
        parts.objects.put(key, io.BytesIO(data), media_type="application/json")
        reached("after_result")
        parts.store.finish(
            work.claim,
            result_key=key,
            partial=bool(outcome.gaps),
            gaps=[gap.to_dict() for gap in outcome.gaps],
            warnings=[warning.to_dict() for warning in outcome.warnings],
            performance=outcome.performance,
        )
        reached("after_finish")
        if job.params.diarize:
            forget_checkpoints(work)
        work.report.end(chunks, outcome.performance)
        return Output()
