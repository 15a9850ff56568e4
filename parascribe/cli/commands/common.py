"""What the commands share: exit codes, options, and how to print."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from core.jobs.job import JobStatus
from core.transcript.formats import FileFormat

if TYPE_CHECKING:
    from core.config.settings import Settings
    from parascribe.client.bodies import Look
    from parascribe.client.client import Client


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    PARTIAL = 4
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "all went well",
    Exit.FAILED: "a job, a check or the request failed",
    Exit.USAGE: "an option or a setting has a value that cannot be used",
    Exit.UNREACHABLE: "the service does not answer",
    Exit.PARTIAL: "completed, but a transcript has gaps",
    Exit.INTERRUPTED: "Ctrl-C; the submitted jobs were cancelled (those of `watch` go on)",
}

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="PARASCRIBE_URL",
        help="Address of the service [default: http://127.0.0.1:8000].",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr; what failed is said all the same.")
]
StatusOption = Annotated[
    str | None,
    typer.Option(
        "--status",
        "-s",
        autocompletion=lambda: list(JobStatus),
        help=f"Only jobs in this state: {', '.join(JobStatus)}.",
    ),
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many.")]
AfterOption = Annotated[str | None, typer.Option("--after", help="Go on from here: the `next` of the page before.")]
RecursiveOption = Annotated[bool, typer.Option("--recursive", "-r", help="Also what is in folders of the folders.")]
UPLOADS = 4
ParallelOption = Annotated[int, typer.Option("--parallel", "-j", min=1, max=32, help="Uploads at a time.")]


if TYPE_CHECKING:
    Formats = list[FileFormat]
else:
    Formats = list[str]  # typer knows no lists of Literal


def format_option(words: str) -> Any:
    """The option `-f` of a command that takes formats; `words` for `--help`."""
    names = get_args(FileFormat)
    return typer.Option(
        "--format",
        "-f",
        parser=_format,
        metavar="|".join(names),
        autocompletion=lambda: list(names),
        help=words,
        show_default=False,
    )


def _format(given: str) -> str:
    names = get_args(FileFormat)
    if given not in names:
        raise typer.BadParameter(f"{given!r} is not one of {', '.join(map(repr, names))}.")
    return given


def split_look(given: dict[str, Any]) -> tuple[Look, dict[str, Any]]:
    """What was asked of the transcripts' look, and the rest."""
    from core.options import options
    from core.transcript.shaping import Shaping

    names = {option.name for option in options(Shaping)}
    look = {name: value for name, value in given.items() if name in names}
    return cast("Look", look), {name: value for name, value in given.items() if name not in names}


def check_look(look: Look, formats: Collection[FileFormat]) -> None:
    """Refuse, before any work, a look that cannot be or that one of the formats has not."""
    from core.errors import ValidationFailed
    from core.transcript.formats import shaping_for

    try:
        shaping_for(formats, look)
    except ValidationFailed as error:
        raise typer.BadParameter(error.message) from error


def connect(url: str | None) -> Client:
    """A client for the service at that address."""
    from parascribe.client.client import Client

    return Client(url)


def settings() -> Settings:
    """The settings of this environment. Raises ConfigError."""
    from core.config.loading import load

    return load()


def each(names: Sequence[str], run: Callable[[str], object]) -> bool:
    """Run for each name. What one is refused for is said, and the rest go on; True when all went well.

    Raises what concerns them all, such as ServiceUnreachable.
    """
    from core.errors import ServiceError
    from parascribe.client.errors import ApiError

    well = True
    for name in names:
        try:
            run(name)
        except (ApiError, ServiceError, OSError) as error:
            well = False
            if isinstance(error, ServiceError):
                reason = f"{error.message} ({error.code})"
            else:
                reason = error.explain() if isinstance(error, ApiError) else str(error)
            note(f"parascribe: {name}: {reason}")
    return well


def print_json(value: object) -> None:
    """Print a value as JSON."""
    from parascribe.screen.render import to_json

    print(to_json(value, sys.stdout))


def print_page(page: Any, columns: Sequence[str], rows: Iterable[Sequence[str]], *, json: bool) -> None:
    """One page of a list, as a table or as JSON, and where it goes on."""
    from parascribe.screen.render import table

    if json:
        print_json(page)
        return
    table(columns, rows)
    if page["next"]:
        note(f"There are more: --after {page['next']}")


def note(text: str) -> None:
    """Say something to the person, not to the pipe."""
    with contextlib.suppress(OSError):  # nobody listens
        print(text, file=sys.stderr, flush=True)
