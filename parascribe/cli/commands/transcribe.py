"""`parascribe transcribe`: files in, transcripts out, through a service or on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from parascribe.cli.commands.common import Exit, JsonOption, QuietOption, UrlOption, connect, note, print_json, settings
from parascribe.client.inputs import media_file
from parascribe.screen.outputs import FileFormat

if TYPE_CHECKING:
    from parascribe.cli.batch import Deliver, Item
    from parascribe.client.bodies import Job, Params
    from parascribe.screen.progress import Reporter


def transcribe(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", parser=media_file, help="Audio or video files, pipes, or - for stdin."),
    ],
    formats: Annotated[
        list[FileFormat] | None,
        typer.Option("--format", "-f", help="Format; may be given several times.", show_default=False),
    ] = None,
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
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model [default: the service's].", show_default=False)
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            "-l",
            help="Code, tag or English name: de, deu, de-CH, german [default: detected].",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="transcribe, or translate (to English) [default: transcribe].", show_default=False),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Names and terms the model should expect.", show_default=False)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="First temperature of decoding, 0 to 1.", show_default=False)
    ] = None,
    beam_size: Annotated[
        int | None,
        typer.Option("--beam-size", help="Beam search with so many beams [default: greedy].", show_default=False),
    ] = None,
    word_timestamps: Annotated[bool, typer.Option("--word-timestamps", help="Times for each word (in json).")] = False,
    audio_track: Annotated[
        str | None,
        typer.Option(
            "--audio-track",
            metavar="INDEX|LANGUAGE",
            help="Which of several sound tracks, from 0 [default: the default one, or the next that holds speech].",
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
) -> None:
    """Transcribe audio and video files.

    Progress goes to stderr, transcripts to stdout or into files. Ctrl-C cancels the submitted jobs.
    """
    from parascribe.cli.batch import deliver_to, keep
    from parascribe.screen.outputs import OutputError, Outputs
    from parascribe.screen.progress import reporter

    if local and not wait:
        raise typer.BadParameter("--local and --no-wait do not go together")
    if not wait and (formats or output is not None):
        raise typer.BadParameter(
            "--no-wait writes no transcript, so that -f and -o have no meaning: give them to parascribe result"
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
    deliver = keep if json and not to_files else deliver_to(outputs)
    given = {
        "model": model,
        "language": language,
        "task": task,
        "prompt": prompt,
        "temperature": temperature,
        "beam_size": beam_size,
        "word_timestamps": word_timestamps or None,
        "audio_track": audio_track,
    }
    params = cast("Params", {name: value for name, value in given.items() if value is not None})
    with reporter(quiet=quiet) as report:
        run = _local if local else _remote(url, wait, None if wait or json else _print_id)
        items = run(files, params, deliver, report)
    if json:
        print_json([item.to_dict() for item in items])
    if len(items) > 1 and not quiet:
        _summary(items)
    raise typer.Exit(_code(items))


Run = Callable[[Sequence[Path], "Params", "Deliver", "Reporter"], "list[Item]"]


def _print_id(job: Job) -> None:
    print(job["id"], flush=True)  # at once: what comes after it may fail


def _remote(url: str | None, wait: bool, submitted: Callable[[Job], None] | None) -> Run:
    def run(files: Sequence[Path], params: Params, deliver: Deliver, report: Reporter) -> list[Item]:
        from parascribe.cli.batch import finish, submit

        with connect(url) as client:
            items = submit(client, files, params, report, submitted)
            if wait:
                finish(client, items, deliver, report)
        return items

    return run


def _local(files: Sequence[Path], params: Params, deliver: Deliver, report: Reporter) -> list[Item]:
    from parascribe.cli.local_batch import transcribe_locally

    return transcribe_locally(settings(), files, params, deliver, report)


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
