"""`parascribe watch`: a folder whose media files are transcribed as they appear."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from core.jobs.params import JobParams
from core.transcript.shaping import Shaping
from parascribe.cli.commands.common import (
    UPLOADS,
    Exit,
    Formats,
    ParallelOption,
    QuietOption,
    RecursiveOption,
    UrlOption,
    check_look,
    connect,
    format_option,
    note,
    split_look,
)
from parascribe.cli.commands.job_options import with_options

if TYPE_CHECKING:
    from parascribe.cli.watch import Tally
    from parascribe.client.bodies import Params


def watch_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="The folder; a network folder will do.")
    ],
    formats: Annotated[
        Formats | None, format_option("Format of the transcripts; may be given several times [default: txt].")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the transcripts, which gets the folders of DIR [default: beside the media files].",
            show_default=False,
        ),
    ] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Transcripts go beside the media files, as without -o.")
    ] = False,
    recursive: RecursiveOption = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            min=0.1,
            max=86_400,
            help="Seconds between two looks. A file is taken when it has not changed from one to the next.",
        ),
    ] = 10.0,
    once: Annotated[
        bool, typer.Option("--once", help="Two looks, transcribe what is there, and leave: for cron and the like.")
    ] = False,
    parallel: ParallelOption = UPLOADS,
    url: UrlOption = None,
    quiet: QuietOption = False,
    **given: Any,
) -> None:
    """Transcribe every media file that appears in a folder, each once.

    What was done is remembered, over restarts too: a file is done again only when its size or time has changed, or when other options
    of the job are given. One that fails is told of once and left until it changes. Files that we did not write are never
    overwritten. Ctrl-C leaves the jobs to the service; the next start goes on from there.
    """
    from parascribe.cli.journal import Journal
    from parascribe.cli.pipeline import Pipeline
    from parascribe.cli.watch import Asked, Occupied, Watch, alone
    from parascribe.screen.outputs import OutputError, check_folder
    from parascribe.screen.progress import reporter
    from parascribe.screen.render import printable

    if beside and output is not None:
        raise typer.BadParameter("--beside and -o name two places")
    if output in ("", "-"):
        raise typer.BadParameter("-o takes a folder")
    output = output and os.path.join(output, "")
    look, params = split_look(given)
    wanted = tuple(dict.fromkeys(formats or ("txt",)))
    check_look(look, wanted)
    try:
        check_folder(Path(output) if output is not None else folder)
    except OutputError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        with (
            alone(folder),
            connect(url) as client,
            contextlib.closing(Journal()) as journal,
            reporter(quiet=quiet) as report,
            Pipeline(client, cast("Params", params), report, journal=journal, uploads=parallel) as pipeline,
        ):
            asked = Asked(
                folder=folder,
                recursive=recursive,
                formats=wanted,
                output=output,
                params=cast("Params", params),
                look=look,
                service=client.base_url,
            )
            watching = Watch(asked, journal, pipeline, report)
            if not once:
                report.note(f"Looking into {printable(folder)} every {interval:g} s; Ctrl-C ends it.")
                watching.run(interval)
            watching.once(interval)
    except KeyboardInterrupt:
        note("What was submitted goes on at the service; the next start takes it up.")
        raise
    except Occupied:
        note(f"Another parascribe watch is at {printable(folder)}.")
        raise typer.Exit(Exit.OK if once else Exit.FAILED) from None
    if not quiet:
        note(_words(watching.tally))
    raise typer.Exit(_code(watching.tally))


watch = with_options(JobParams, before="url")(with_options(Shaping, before="url")(watch_command))


def _words(tally: Tally) -> str:
    counts = {"transcribed": tally.done, "failed": tally.failed, "put off": tally.put_off}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "transcribed")


def _code(tally: Tally) -> int:
    if tally.failed or tally.put_off:
        return Exit.FAILED
    return Exit.PARTIAL if tally.partial else Exit.OK
