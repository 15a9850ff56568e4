"""`parascribe serve | api | consumer | demo`: what runs."""

from __future__ import annotations

from typing import Annotated

import typer

from parascribe.cli.commands.common import settings


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
