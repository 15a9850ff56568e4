"""`parascribe voices list | keep | delete`: voices that you keep, so that jobs know them by name."""

from __future__ import annotations

from typing import Annotated

import typer

from parascribe.cli.commands.common import Exit, JsonOption, UrlOption, connect, each, print_json

app = typer.Typer(no_args_is_help=True, help="Voices that are known by name (docs/how-to/speakers.md).")


@app.command("list")
def list_(url: UrlOption = None, json: JsonOption = False) -> None:
    """List the voices that you have kept."""
    from parascribe.screen.render import table

    with connect(url) as client:
        found = client.voices.list()
    if json:
        print_json(found)
        return
    table(("NAME", "KEPT"), [(one["name"], one["created_at"]) for one in found])


@app.command()
def keep(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the voice is to be called.")],
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of a completed job with --diarize.")],
    speaker: Annotated[
        str, typer.Argument(metavar="SPEAKER", help="Id of one of its speakers; SPEAKER_00 where one speaks alone.")
    ],
    url: UrlOption = None,
) -> None:
    """Keep what a speaker of a job sounds like: --known-speaker NAME knows that voice from now on."""
    with connect(url) as client:
        client.voices.keep(name, job=job, speaker=speaker)


@app.command()
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names of the voices.")], url: UrlOption = None
) -> None:
    """Forget voices. Names in transcripts stay."""
    with connect(url) as client:
        well = each(names, client.voices.delete)
    if not well:
        raise typer.Exit(Exit.FAILED)
