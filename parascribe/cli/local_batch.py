"""Several files in this process, without a service. What `parascribe transcribe --local` does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.config.settings import Settings
from core.errors import NotInResult
from core.jobs.job import Job
from core.system import logs
from core.transcript.formats import FORMATS, FileFormat, from_result
from core.transcript.shaping import Shaping
from parascribe.cli.items import Deliver, Item, words_for
from parascribe.client.bodies import Look, Params
from parascribe.run.local import transcribe_files
from parascribe.screen.outputs import Fetch
from parascribe.screen.progress import Reporter
from parascribe.screen.render import printable


def transcribe_locally(
    settings: Settings, items: Sequence[Item], params: Params, deliver: Deliver, report: Reporter, look: Look
) -> None:
    """One file after the other, with all of this machine's workers; each transcript is delivered as soon as it is there.

    Raises ServiceError for what concerns all files, such as an unknown model.
    """
    # the story of a job would tear the progress bar
    settings = settings.model_copy(update={"log_level": "WARNING"})
    logs.setup(settings.log_level, settings.log_format, role="local")

    def show(path: Path, job: Job) -> None:
        report.step(printable(path), job.stage.value, job.percent, job.eta_seconds)

    files = [item.file for item in items]
    with contextlib.closing(transcribe_files(settings, files, dict(params), show)) as results:
        for item, result in zip(items, results, strict=True):
            if error := result.get("error"):
                item.refuse(error["code"], error["message"], "failed")
            else:
                item.status, item.partial = "completed", result["partial"]
                try:
                    deliver(item, _from_result(result, look))
                except NotInResult as failure:
                    item.refuse(failure.code, failure.message, "failed")
            report.end(
                item.name,
                words_for(item, {"status": item.status, "audio": {"duration": result.get("duration")}} | result),
                failed=item.missed,
            )


def _from_result(result: dict[str, Any], look: Look) -> Fetch:
    transcript, shaping = from_result(result), Shaping.of(look)

    def fetch(kind: FileFormat) -> Any:
        text = FORMATS[kind].render(transcript, shaping)
        return json.loads(text) if kind == "json" else text

    return fetch
