"""`parascribe batch`: many files of a running service asked for together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from core.jobs.params import JobParams
from core.transcript.formats import FileFormat
from parascribe.cli.commands.common import (
    UPLOADS,
    AfterOption,
    Exit,
    JsonOption,
    LimitOption,
    ParallelOption,
    QuietOption,
    RecursiveOption,
    StatusOption,
    UrlOption,
    connect,
    each,
    format_option,
    note,
    print_json,
    print_page,
)
from parascribe.cli.commands.job_options import with_options

if TYPE_CHECKING:
    from parascribe.client.bodies import Batch, Params

app = typer.Typer(
    no_args_is_help=True, help="Many files at once, counted, steered and fetched together: submit, status, results."
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the batch.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of the batches.")]


def submit_command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|DIR", exists=True, readable=True, help="Files, and folders of audio and video."),
    ],
    recursive: RecursiveOption = False,
    parallel: ParallelOption = UPLOADS,
    url: UrlOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    **params: Any,
) -> None:
    """Upload files as one batch and print its id. A file that is refused fails alone. Ctrl-C cancels the batch."""
    from parascribe.cli.bulk import upload
    from parascribe.cli.folders import media_in
    from parascribe.screen.progress import reporter

    files = list(media_in(paths, recursive=recursive))
    if not files:
        raise typer.BadParameter("there is no audio or video file there" + ("" if recursive else " (--recursive?)"))
    with connect(url) as client:
        batch_id = client.batches.create(cast("Params", params))["id"]
        if not json:
            print(batch_id, flush=True)  # at once: what comes after it may fail
        with reporter(quiet=quiet) as report:
            failed = upload(client, batch_id, files, report, at_once=parallel)
        batch = client.batches.close(batch_id)
    if json:
        print_json(batch)
    if failed:
        note(f"{failed} of {len(files)} files were refused; the others are in the batch.")
        raise typer.Exit(Exit.FAILED)


app.command("submit")(with_options(JobParams, before="url")(submit_command))


@app.command()
def status(batch_id: Id, url: UrlOption = None, json: JsonOption = False) -> None:
    """Show one batch: how many of its jobs stand where."""
    with connect(url) as client:
        batch = client.batches.get(batch_id)
    print_json(batch) if json else print(_text(batch), end="")


@app.command("list")
def list_(limit: LimitOption = 20, after: AfterOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """List batches, newest first. In a pipe: tab-separated lines without a heading."""
    with connect(url) as client:
        page = client.batches.list(limit=limit, after=after)
    rows = [(b["id"], b["status"], b["created_at"][:19].replace("T", " ")) for b in page["items"]]
    print_page(page, ("ID", "STATUS", "CREATED (UTC)"), rows, json=json)


@app.command()
def items(
    batch_id: Id,
    status: StatusOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """List the jobs of a batch, oldest first."""
    from parascribe.screen.render import JOB_COLUMNS, job_line

    with connect(url) as client:
        page = client.batches.items(batch_id, status=status, limit=limit, after=after)
    print_page(page, JOB_COLUMNS, (job_line(cast("dict[str, Any]", job)) for job in page["items"]), json=json)


@app.command()
def results(
    batch_id: Id,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The zip file [default: batch-ID.zip].", show_default=False)
    ] = None,
    kind: Annotated[FileFormat, format_option("Format of the transcripts [default: txt].")] = "txt",
    url: UrlOption = None,
) -> None:
    """Fetch all transcripts there are as one zip file; errors.json in it names the files without one."""
    with connect(url) as client:
        path = client.batches.results(batch_id, output or Path(f"batch-{Path(batch_id).name}.zip"), kind)
    note(f"wrote {path}")


@app.command()
def close(batch_ids: Ids, url: UrlOption = None) -> None:
    """Take no more files: for what a broken connection has left open."""
    with connect(url) as client:
        _each(batch_ids, lambda batch_id: _line(client.batches.close(batch_id)))


@app.command()
def cancel(batch_ids: Ids, url: UrlOption = None) -> None:
    """Cancel the jobs of batches that have not ended."""
    with connect(url) as client:
        _each(batch_ids, lambda batch_id: _line(client.batches.cancel(batch_id)))


@app.command()
def retry(batch_ids: Ids, url: UrlOption = None) -> None:
    """Try the failed jobs of batches again."""
    with connect(url) as client:
        _each(batch_ids, lambda batch_id: _line(client.batches.retry(batch_id)))


@app.command()
def delete(batch_ids: Ids, url: UrlOption = None) -> None:
    """Remove batches with their jobs, audio and transcripts; running ones are cancelled first."""
    with connect(url) as client:
        _each(batch_ids, client.batches.delete)


def _each(batch_ids: list[str], run: Any) -> None:
    if not each(batch_ids, run):
        raise typer.Exit(Exit.FAILED)


def _line(batch: Batch) -> None:
    print(f"{batch['id']}\t{batch['status']}")


def _text(batch: Batch) -> str:
    from parascribe.screen.render import duration

    counts, progress = batch["counts"], batch["progress"]
    shown = ", ".join(f"{count} {name}" for name, count in cast("dict[str, int]", counts).items() if count)
    rows = [("id", batch["id"]), ("status", batch["status"]), ("jobs", shown or "none")]
    left = f", about {duration(progress['eta_seconds'])} left" if progress["eta_seconds"] else ""
    rows.append(("progress", f"{progress['percent']:.0f} % of {duration(progress['audio_seconds'])}{left}"))
    rows += [
        (key.removesuffix("_at"), str(when))
        for key in ("created_at", "closed_at", "finished_at")
        if (when := cast("dict[str, Any]", batch)[key])
    ]
    return "".join(f"{name + ':':<10} {value}\n" for name, value in rows)
