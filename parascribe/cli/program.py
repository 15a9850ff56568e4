"""The console command: its subcommands, and what an error looks like to the person who made the call."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from core.system.processes import one_blas_thread
from parascribe.cli.commands import (
    batches,
    completion,
    jobs,
    keys,
    search,
    services,
    transcribe,
    voices,
    watch,
    webhooks,
)
from parascribe.cli.commands.common import MEANING, Exit, note
from parascribe.cli.commands.machine import checks, engine, models, tune
from parascribe.cli.live import command
from parascribe.screen import streams

app = typer.Typer(
    name="parascribe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: " + "; ".join(f"{code:d} {words}" for code, words in MEANING.items()) + ".",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("parascribe"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Turns speech into text on your own machines."""


JOBS, SERVICES, MACHINE = "Jobs of a running service", "Services", "This machine"
COMMANDS: tuple[tuple[str, str | None, Callable[..., None]], ...] = (
    ("transcribe", None, transcribe.transcribe),
    ("live", None, command.live),
    ("watch", None, watch.watch),
    ("status", JOBS, jobs.status),
    ("list", JOBS, jobs.list_),
    ("result", JOBS, jobs.result),
    ("search", JOBS, search.search),
    ("cancel", JOBS, jobs.cancel),
    ("retry", JOBS, jobs.retry),
    ("delete", JOBS, jobs.delete),
    ("serve", SERVICES, services.serve),
    ("api", SERVICES, services.api),
    ("consumer", SERVICES, services.consumer),
    ("demo", SERVICES, services.demo),
    ("mcp", SERVICES, services.mcp),
    ("doctor", MACHINE, checks.doctor),
    ("plan", MACHINE, checks.plan),
    ("tune", MACHINE, tune.tune),
    ("config", MACHINE, checks.config),
    ("completion", MACHINE, completion.completion),
)


def _paragraphs(run: Callable[..., None]) -> str:
    """Its description; else the lines of a paragraph would be broken where they are in the source."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(run) or "")


for _name, _panel, _run in COMMANDS:
    app.command(_name, help=_paragraphs(_run), rich_help_panel=_panel)(_run)
app.add_typer(batches.app, name="batch", rich_help_panel=JOBS)
app.add_typer(voices.app, name="voices", rich_help_panel=JOBS)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=JOBS)
app.add_typer(keys.app, name="keys", rich_help_panel=SERVICES)
app.add_typer(models.app, name="models", rich_help_panel=MACHINE)
app.add_typer(engine.app, name="engine", rich_help_panel=MACHINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
    one_blas_thread()
    streams.prepare()
    stdout, stderr = sys.stdout, sys.stderr
    try:
        code = _call(arguments)
    finally:
        broken = sys.stdout is not stdout  # typer puts others there when a pipe breaks, to say nothing of it
        sys.stdout, sys.stderr = stdout, stderr
    if reason := streams.flush() or (streams.CLOSED if broken else None):
        note(f"parascribe: stdout {reason}")
        return code or Exit.FAILED
    return code


def _call(arguments: Sequence[str] | None) -> int:
    try:
        app(args=arguments, prog_name="parascribe")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else Exit.OK
    except Exception as error:
        code = _explain(error)
        if code is None:
            raise
        return code
    return Exit.OK


def _explain(error: Exception) -> int | None:
    """Say in words what went wrong; None for what is a mistake of ours and deserves its traceback."""
    from core.errors import ServiceError
    from parascribe.client.errors import ApiError, ClientError, ServiceUnreachable

    match error:
        case ServiceUnreachable():
            note(f"parascribe: {error}")
            return Exit.UNREACHABLE
        case ApiError():
            note(f"parascribe: {error.explain()}")
            return Exit.FAILED
        case ServiceError():
            note(f"parascribe: {error.message} ({error.code})")
            return Exit.FAILED
        case ClientError() | OSError():
            note(f"parascribe: {error}")
            return Exit.FAILED
    # core.config is slow to import: when nobody did, the error is none of its
    config = sys.modules.get("core.config.files")
    if config and isinstance(error, config.ConfigError):
        note(f"parascribe: {error}")
        return Exit.USAGE
    return None
