"""`parascribe serve | api | consumer | demo | mcp`: what runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from parascribe.cli.commands.common import Exit, UrlOption, note, settings


def serve() -> None:
    """Run the whole service on this machine: API and consumer under one supervisor.

    Settings come from the environment, .env and parascribe.toml (see `parascribe config`). Ctrl-C stops it cleanly.
    """
    from parascribe.run.services import run_serve

    raise typer.Exit(run_serve(settings()))


def api() -> None:
    """Run the API alone (cluster)."""
    from parascribe.run.services import run_api

    raise typer.Exit(run_api(settings()))


def consumer() -> None:
    """Run one consumer alone (cluster): claims jobs and transcribes them."""
    from parascribe.run.services import run_consumer

    raise typer.Exit(run_consumer(settings()))


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the demo's data folder and say where it is.")] = False,
) -> None:
    """See it work: start a service, transcribe recordings of people (the model comes first), stop it."""
    from parascribe.cli.demo import run

    raise typer.Exit(run(keep=keep))


def mcp(
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root",
            metavar="DIR",
            help="Folder whose files assistants may have transcribed; may be given several times [default: the working directory].",
            show_default=False,
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            help="Listen there (127.0.0.1, localhost or [::1]; path /mcp) instead of on stdin. Whoever reaches it uses your key.",
        ),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Let assistants use a running service: a server of the Model Context Protocol (extra `mcp`).

    On stdin and stdout, as assistants start it. Tools: transcribe, status, result, search, list_jobs, cancel.
    """
    try:
        from parascribe.mcp.folders import Folders
        from parascribe.mcp.server import run
    except ImportError as error:
        note(f"parascribe: this needs the extra mcp ({error}): pip install 'parascribe[mcp]'")
        raise typer.Exit(Exit.FAILED) from None
    try:
        folders = Folders(root or [Path.cwd()])
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{error}", param_hint="--root") from None
    found = re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\]):([1-9]\d{0,4})", http or "", re.ASCII)
    if http is not None and (found is None or int(found[2]) > 65535):
        raise typer.BadParameter("a loopback address such as 127.0.0.1:8765 is expected", param_hint="--http")
    run(url, folders, (found[1].strip("[]"), int(found[2])) if found else None)
