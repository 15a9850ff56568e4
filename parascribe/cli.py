"""The console command: its subcommands, and what an error looks like to the person who made the call."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from parascribe.commands import engine, jobs, machine, models, services, transcribe
from parascribe.commands.common import Exit, note

EXIT_CODES = (
    "Exit codes: 0 all went well, 1 a job, a check or the request failed, 2 usage or settings, "
    "3 the service does not answer, 4 completed with gaps, 130 Ctrl-C."
)

app = typer.Typer(
    name="parascribe", no_args_is_help=True, pretty_exceptions_enable=False, epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("parascribe"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """Turns speech into text on your own machines."""


app.command()(transcribe.transcribe)
for _command in (jobs.status, jobs.result, jobs.cancel, jobs.retry, jobs.delete):
    app.command(rich_help_panel="Jobs of a running service")(_command)
app.command("list", rich_help_panel="Jobs of a running service")(jobs.list_)
for _command in (services.serve, services.api, services.consumer, services.demo):
    app.command(rich_help_panel="Services")(_command)
for _command in (machine.doctor, machine.plan, machine.config):
    app.command(rich_help_panel="This machine")(_command)
app.add_typer(models.app, name="models", rich_help_panel="This machine")
app.add_typer(engine.app, name="engine", rich_help_panel="This machine")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
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
    from parascribe.errors import ApiError, ClientError, ServiceUnreachable

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
        case ClientError():
            note(f"parascribe: {error}")
            return Exit.FAILED
    # core.config is slow to import: when nobody did, the error is none of its
    config = sys.modules.get("core.config")
    if config and isinstance(error, config.ConfigError):
        note(f"parascribe: {error}")
        return Exit.USAGE
    return None
