"""`parascribe transcribe`: files in, transcripts out, through a service or on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from core.jobs.params import JobParams
from core.transcript.shaping import Shaping
from parascribe.cli.commands.common import (
    Exit,
    Formats,
    JsonOption,
    QuietOption,
    UrlOption,
    check_look,
    connect,
    format_option,
    note,
    print_json,
    settings,
    split_look,
)
from parascribe.cli.commands.job_options import with_options
from parascribe.client.inputs import media_file

if TYPE_CHECKING:
    from parascribe.cli.batch import Deliver, Item
    from parascribe.client.bodies import Job, Look, Params
    from parascribe.screen.progress import Reporter


def transcribe_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", parser=media_file, help="Audio or video files, pipes, or - for stdin."),
    ],
    formats: Annotated[Formats | None, format_option("Format; may be given several times.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE|-",
            help="Folder for the transcripts, a file such as talk.srt for a single one, or - for stdout. Without it: one file in one format goes to stdout, else beside each media file. Existing transcripts are overwritten.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="--no-wait prints the ids of the jobs, one a line, and leaves.")
    ] = True,
    local: Annotated[bool, typer.Option("--local", help="Transcribe in this process, without a service.")] = False,
    url: UrlOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    **given: Any,
) -> None:
    """Transcribe audio and video files.

    Progress goes to stderr, transcripts to stdout or into files. Ctrl-C cancels the submitted jobs.
    """
    from parascribe.cli.batch import deliver_to, keep
    from parascribe.screen.outputs import OutputError, Outputs
    from parascribe.screen.progress import reporter

    if local and not wait:
        raise typer.BadParameter("--local and --no-wait do not go together")
    look, params = split_look(given)
    if not wait and (formats or output is not None or look):
        flags = ", ".join(["-f and -o", *(f"--{name.replace('_', '-')}" for name in look)])
        raise typer.BadParameter(
            f"--no-wait writes no transcript, so that {flags} have no meaning: give them to parascribe result"
        )
    if json and output == "-":
        raise typer.BadParameter("--json and -o - would both print to stdout")
    files = list(dict.fromkeys(files))
    to_files = bool(formats) or output is not None
    try:
        # with --json stdout belongs to the JSON: transcripts go into files, or into it
        outputs = Outputs.plan(files, formats or (), output, stdout=not json)
    except OutputError as error:
        raise typer.BadParameter(str(error)) from error
    kept = json and not to_files
    check_look(look, {"json"} if kept else outputs.wanted)
    deliver = keep if kept else deliver_to(outputs)
    with reporter(quiet=quiet) as report:
        run = _local if local else _remote(url, wait, None if wait or json else _print_id)
        items = run(files, cast("Params", params), deliver, report, look)
    if json:
        print_json([item.to_dict() for item in items])
    if len(items) > 1 and not quiet:
        _summary(items)
    raise typer.Exit(_code(items))


transcribe = with_options(JobParams, before="wait")(with_options(Shaping, before="wait")(transcribe_command))

Run = Callable[[Sequence[Path], "Params", "Deliver", "Reporter", "Look"], "list[Item]"]


def _print_id(job: Job) -> None:
    print(job["id"], flush=True)  # at once: what comes after it may fail


def _remote(url: str | None, wait: bool, submitted: Callable[[Job], None] | None) -> Run:
    def run(files: Sequence[Path], params: Params, deliver: Deliver, report: Reporter, look: Look) -> list[Item]:
        from parascribe.cli.batch import finish, submit

        with connect(url) as client:
            items = submit(client, files, params, report, submitted)
            if wait:
                finish(client, items, deliver, report, look)
        return items

    return run


def _local(files: Sequence[Path], params: Params, deliver: Deliver, report: Reporter, look: Look) -> list[Item]:
    from parascribe.cli.local_batch import transcribe_locally

    return transcribe_locally(settings(), files, params, deliver, report, look)


def _summary(items: Sequence[Item]) -> None:
    counts: dict[str, int] = {}
    for item in items:
        state = item.status + (" (partial)" if item.partial else "")
        counts[state] = counts.get(state, 0) + 1
    note(f"{len(items)} files: " + ", ".join(f"{count} {state}" for state, count in counts.items()))


def _code(items: Sequence[Item]) -> int:
    if any(item.status in ("failed", "cancelled", "refused") for item in items):
        return Exit.FAILED
    return Exit.PARTIAL if any(item.partial for item in items) else Exit.OK
