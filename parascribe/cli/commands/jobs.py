"""`parascribe status | list | result | cancel | retry | delete`: jobs of a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from core.transcript.shaping import Shaping
from parascribe.cli.commands.common import (
    AfterOption,
    Exit,
    Formats,
    JsonOption,
    LimitOption,
    QuietOption,
    StatusOption,
    UrlOption,
    check_look,
    connect,
    each,
    format_option,
    note,
    print_json,
    print_page,
    split_look,
)
from parascribe.cli.commands.job_options import with_options

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the job.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of the jobs.")]


def status(job_id: Id, url: UrlOption = None, json: JsonOption = False) -> None:
    """Show one job: state, progress, outcome."""
    from parascribe.screen.render import job_text

    with connect(url) as client:
        job = client.get(job_id)
    print_json(job) if json else print(job_text(cast("dict[str, Any]", job)), end="")


def list_(
    status: StatusOption = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """List jobs, newest first. In a pipe: tab-separated lines without a heading."""
    from parascribe.screen.render import JOB_COLUMNS, job_line

    with connect(url) as client:
        page = client.list(status=status, limit=limit, after=after)
    print_page(page, JOB_COLUMNS, (job_line(cast("dict[str, Any]", job)) for job in page["items"]), json=json)


def result_command(
    job_id: Id,
    formats: Annotated[
        Formats | None, format_option("Format; may be given several times [default: lines with times].")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE|-",
            help="Folder for the files, a file such as talk.srt for a single one, or - for stdout [default: stdout].",
            show_default=False,
        ),
    ] = None,
    revision: Annotated[
        str,
        typer.Option(
            "--revision",
            metavar="latest|original|N",
            autocompletion=lambda: ["latest", "original"],
            help="Which one of an edited transcript: the newest, the one before all edits, or the edit of that number.",
        ),
    ] = "latest",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the job to end.")] = False,
    url: UrlOption = None,
    quiet: QuietOption = False,
    **given: Any,
) -> None:
    """Fetch a job's transcript, for what was submitted with --no-wait."""
    from parascribe.cli.items import from_service
    from parascribe.screen.outputs import OutputError, Outputs
    from parascribe.screen.progress import reporter

    with connect(url) as client:
        job = client.get(job_id)
        name = job["source"]["filename"]
        if wait:
            with reporter(quiet=quiet) as report:
                job = client.wait(
                    job_id,
                    on_progress=lambda j: report.step(
                        name, j["progress"]["stage"], j["progress"]["percent"], j["progress"]["eta_seconds"]
                    ),
                )
        if job["error"]:
            note(f"{name}: {job['error']['message']} ({job['error']['code']})")
            raise typer.Exit(Exit.FAILED)
        # the name came from whoever uploaded the file: only its last part, below the chosen folder
        file = Path(Path(name).name or job_id)
        try:
            outputs = Outputs.plan([file], formats or (), output)
        except OutputError as error:
            raise typer.BadParameter(str(error)) from error
        look, _ = split_look(given)
        check_look(look, outputs.wanted)
        written = outputs.deliver(file, from_service(client, job_id, look, revision))
    for path in written if not quiet else ():
        note(f"wrote {path}")
    if job["partial"]:
        raise typer.Exit(Exit.PARTIAL)


result = with_options(Shaping, before="wait")(result_command)


def cancel(job_ids: Ids, url: UrlOption = None, json: JsonOption = False) -> None:
    """Cancel jobs that have not ended."""
    jobs: list[Any] = []
    with connect(url) as client:
        well = each(job_ids, lambda job_id: jobs.append(client.cancel(job_id)))
    if jobs:
        _show(jobs if len(job_ids) > 1 else jobs[0], json)
    if not well:
        raise typer.Exit(Exit.FAILED)


def retry(
    job_id: Id,
    all_: Annotated[
        bool, typer.Option("--all", help="Transcribe everything anew instead of only what is missing.")
    ] = False,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Try a failed, cancelled or partial job again, as a new job with the same parameters."""
    with connect(url) as client:
        _show(client.retry(job_id, all=all_), json)


def delete(job_ids: Ids, url: UrlOption = None) -> None:
    """Remove jobs with their audio and transcripts; running ones are cancelled first."""
    with connect(url) as client:
        if not each(job_ids, client.delete):
            raise typer.Exit(Exit.FAILED)


def _show(found: Any, json: bool) -> None:
    """found: one job, or a list of them; JSON has the same shape."""
    if json:
        print_json(found)
        return
    for job in found if isinstance(found, list) else [found]:
        print(f"{job['id']}\t{job['status']}")
