"""`parascribe transcribe`: files in, transcripts out, through a service or on the spot."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from core.jobs.params import JobParams
from core.transcript.shaping import Shaping
from parascribe.cli.commands.common import (
    UPLOADS,
    Exit,
    Formats,
    JsonOption,
    QuietOption,
    RecursiveOption,
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
    from parascribe.cli.items import Item
    from parascribe.cli.journal import Journal
    from parascribe.cli.transcribe_run import TranscribeRun
    from parascribe.client.bodies import Job, Params
    from parascribe.screen.progress import Reporter


@dataclass(frozen=True, kw_only=True)
class Source:
    """One argument: a file, a folder of them, or (`url`) what the service is to fetch."""

    path: Path
    folder: bool = False
    url: str | None = None


def _source(given: str) -> Source:
    if re.match("https?://", given, re.IGNORECASE):
        return Source(path=Path(given), url=given)
    path = Path(given)
    return Source(path=path, folder=True) if path.is_dir() else Source(path=media_file(given))


def transcribe_command(
    sources: Annotated[
        list[Source],
        typer.Argument(
            metavar="FILE|DIR|URL",
            parser=_source,
            help="Audio or video files, pipes, - for stdin, folders of files, or addresses (http, https) that the service is to fetch.",
        ),
    ],
    formats: Annotated[Formats | None, format_option("Format; may be given several times.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE|-",
            help="Folder for the transcripts, a file such as talk.srt for a single one, or - for stdout. Without it: one file in one format goes to stdout, else beside each media file. Existing transcripts are overwritten, but see --beside.",
            show_default=False,
        ),
    ] = None,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside",
            help="Transcripts go beside the media files. Here, and where a folder is given, what is done is left as it is, and so are files that we did not write.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --beside or a folder: do everything anew and overwrite what is there.")
    ] = False,
    recursive: RecursiveOption = False,
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel", "-j", min=1, max=32, help=f"Uploads at a time [default: {UPLOADS}].", show_default=False
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

    Progress goes to stderr, transcripts to stdout or into files. Ctrl-C cancels the submitted jobs. The same command once more
    goes on where it was stopped, by Ctrl-C or by whatever it was, without uploading again.
    """
    from parascribe.cli.items import file_of
    from parascribe.cli.transcribe_run import TranscribeRun
    from parascribe.screen.outputs import OutputError, Outputs
    from parascribe.screen.progress import reporter

    look, params = split_look(given)
    if local and not wait:
        raise typer.BadParameter("--local and --no-wait do not go together")
    if local and (parallel or any(source.url for source in sources)):
        raise typer.BadParameter("--local uploads and fetches nothing: --parallel and addresses are for a service")
    if not wait and (formats or output is not None or beside or force or look):
        flags = ", ".join(["-f, -o, --beside, --force", *(f"--{name.replace('_', '-')}" for name in look)])
        raise typer.BadParameter(
            f"--no-wait writes no transcript, so that {flags} have no meaning: give them to parascribe result"
        )
    if json and output == "-":
        raise typer.BadParameter("--json and -o - would both print to stdout")
    if beside and output is not None:
        raise typer.BadParameter("--beside and -o name two places")
    items, below = _items(sources, recursive=recursive)
    folders = any(source.folder for source in sources)
    into_json = json and not formats and output is None and not beside
    try:
        outputs = Outputs.plan(
            [item.file for item in items],
            formats or (),
            output,
            # with --json stdout belongs to the JSON: transcripts go into files, or into it
            stdout=not (json or beside or (folders and output is None)),
            names={item.file: file_of(item.url) for item in items if item.url},
            below=below,
        )
    except OutputError as error:
        raise typer.BadParameter(str(error)) from error
    check_look(look, {"json"} if into_json else outputs.wanted)
    run = TranscribeRun(
        items=items,
        outputs=None if into_json else outputs,
        params=cast("Params", params),
        look=look,
        careful=(beside or folders) and not into_json and outputs.targets is not None,
        force=force,
    )
    with reporter(quiet=quiet) as report:
        if local:
            _here(run, report)
        elif wait:
            _there(run, report, url, parallel)
        else:
            _only_submitted(run, report, url, parallel, say=not json)
    if json:
        print_json([item.to_dict() for item in items])
    if len(items) > 1 and not quiet:
        _summary(items)
    raise typer.Exit(_code(items))


transcribe = with_options(JobParams, before="wait")(with_options(Shaping, before="wait")(transcribe_command))


def _items(sources: Sequence[Source], *, recursive: bool) -> tuple[list[Item], Mapping[Path, Path]]:
    """What there is to do, each once; and where in its folder each file of a folder lies."""
    from parascribe.cli.folders import files_in
    from parascribe.cli.items import Item

    def refuse(error: OSError) -> None:
        raise typer.BadParameter(f"{error.filename} cannot be read: {error.strerror}")

    items: dict[Path, Item] = {}
    below: dict[Path, Path] = {}
    for source in sources:
        if source.folder:
            for file, _ in files_in(source.path, recursive=recursive, on_error=refuse):
                items.setdefault(file, Item(file=file))
                below.setdefault(file, file.relative_to(source.path).parent)
        else:
            items.setdefault(source.path, Item(file=source.path, url=source.url))
    if not items:
        raise typer.BadParameter("there is no audio or video file there" + ("" if recursive else " (--recursive?)"))
    return list(items.values()), below


@contextlib.contextmanager
def _journal(*, needed: bool, report: Reporter) -> Iterator[Journal | None]:
    """Where it cannot be kept: None, unless it is needed."""
    from parascribe.cli.journal import Journal, JournalFault

    try:
        journal = Journal()
    except JournalFault as error:
        if needed:
            raise
        report.note(f"{error}; so a second run does not go on where this one stops.")
        yield None
        return
    with contextlib.closing(journal):
        yield journal


def _there(run: TranscribeRun, report: Reporter, url: str | None, parallel: int | None) -> None:
    from parascribe.cli.pipeline import Pipeline, transcribe_all

    with connect(url) as client, _journal(needed=run.careful, report=report) as journal:
        todo = run.prepare(journal, client.base_url, report)
        with Pipeline(
            client, run.params, report, journal=journal, uploads=parallel or UPLOADS, anew=run.force
        ) as pipeline:
            transcribe_all(pipeline, todo, run.deliver, run.look, ended=run.note)


def _only_submitted(run: TranscribeRun, report: Reporter, url: str | None, parallel: int | None, *, say: bool) -> None:
    from parascribe.cli.pipeline import Pipeline, submit_all

    def submitted(job: Job) -> None:
        if say:
            print(job["id"], flush=True)  # at once: what comes after it may fail

    with (
        connect(url) as client,
        Pipeline(client, run.params, report, uploads=parallel or UPLOADS, wait=False) as pipeline,
    ):
        submit_all(pipeline, run.items, submitted)


def _here(run: TranscribeRun, report: Reporter) -> None:
    from core.transcript.formats import FORMATS
    from parascribe.cli.local_batch import transcribe_locally

    found = settings()
    named = [kind for kind in (run.outputs.wanted if run.outputs else ()) if FORMATS[kind].needs_speakers]
    if named and not {**found.job_defaults, **run.params}.get("diarize"):
        raise typer.BadParameter(f"-f {named[0]} says who speaks, which nobody is asked to find out: add --diarize")
    with _journal(needed=run.careful, report=report) if run.careful else contextlib.nullcontext() as journal:
        todo = run.prepare(journal, "", report)
        transcribe_locally(found, todo, run.params, run.deliver, report, run.look)


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
