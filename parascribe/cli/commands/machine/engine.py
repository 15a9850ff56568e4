"""`parascribe engine`: the library that does the computing."""

from __future__ import annotations

from typing import Annotated

import typer

from parascribe.cli.commands.common import JsonOption, note, print_json, settings

app = typer.Typer(
    no_args_is_help=True, help="The engine library: list what is here, build a faster one for this machine."
)


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the engine libraries in the order of preference, and which one is in use."""
    from parascribe.screen.render import table
    from parascribe.tools.engines import find, last_build

    conf = settings()
    engines, record = find(conf), last_build(conf)
    rows = [
        (library.kind, library.version, library == engines.chosen, str(library.directory))
        for library in engines.libraries
    ]
    if json:
        keys = ("kind", "version", "in_use", "directory")
        print_json({"libraries": [dict(zip(keys, row, strict=True)) for row in rows], "last_build": record})
        return
    table(
        ("KIND", "VERSION", "", "DIRECTORY"),
        [(kind, version, "in use" if used else "", where) for kind, version, used, where in rows],
    )
    note(f"Last build: {record['verdict']}." if record else "None was built yet: parascribe engine build")


@app.command()
def build(
    portable: Annotated[
        bool,
        typer.Option("--portable", help="For any CPU of this architecture (container images) instead of this one."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Build a library for this machine, test it, and keep it if it is faster than the one that came with the package.

    The compiler comes from the package registry and is removed afterwards. 2 to 3 minutes on two cores; --portable 6.
    """
    from parascribe.tools.engines import build as run

    record = run(settings(), portable=portable, progress=note)
    if json:
        print_json(record)
