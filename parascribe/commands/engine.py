"""`parascribe engine`: the library that does the computing."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="The engine library: list what is here, build a faster one for this machine.")


@app.command("list")
def list_() -> None:
    """List the libraries."""
