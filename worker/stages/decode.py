"""From the source file to samples, and what the job learns of them: duration, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.audio.decoder import DECODER, Decoder
from core.audio.tracks import TrackChoice
from core.errors import Interrupted
from core.jobs.tasks import Task
from core.speech.strategies import region_source
from core.transcript.language_tags import language_code
from worker.context.stage import Output, Stage
from worker.context.work import Work


class DecodeStage(Stage):
    name = "decode"
    needs = ("source",)
    stored = False
    streams = True

    def options(self, work: Work) -> Mapping[str, Any]:
        params = work.job.params
        split = {"channels": params.channels} if params.channels != "mix" else {}
        return {"decoder": DECODER, "audio_track": params.audio_track} | split

    def due(self, work: Work) -> bool:
        """The plan's own length holds: another decoder may find another."""
        return work.job.duration is None

    def run(self, work: Work, task: Task) -> Output:
        recording = work.recording
        try:
            path = work.upload.path()
            decoded = self._decoder(work).decode(
                path,
                recording.path,
                on_block=recording.grow,
                on_channels=recording.split if work.job.params.channels == "split" else None,
                cancel=work.cancel,
            )
        except BaseException as error:
            if not isinstance(error, Interrupted) and not work.cancel.is_set():
                work.upload.verify()  # a file that was damaged in the store is not called undecodable
            recording.fail(error)
            raise
        for warning in decoded.warnings:
            work.warn(warning.code, warning.message)
        if work.plan.complete and work.job.duration is None:
            work.learn_duration(decoded.duration)
        recording.finish(decoded)
        return Output()

    def _decoder(self, work: Work) -> Decoder:
        parts = work.parts
        choice = TrackChoice(
            wanted=work.job.params.audio_track,
            speech=lambda: region_source("vad", parts.vad().feed),
            language_code=language_code,
        )
        return Decoder(
            parts.ffmpeg,
            max_seconds=parts.settings.max_audio_seconds,
            nice=parts.settings.nice,
            choice=choice,
            media_type=work.job.source.media_type,
        )
