"""Writes docs/reference/cli.md from the command line itself: `python -m scripts.docs_cli`. A test compares the two."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from parascribe.cli.commands.common import MEANING
from parascribe.cli.program import app
from parascribe.screen import outputs

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"


def page() -> str:
    """The whole page."""
    # typer keeps its own copy of click, whose types are not public
    root: Any = typer.main.get_command(app)
    context = typer.Context(root, info_name="parascribe")
    parts = ["# The command line", "<!-- made by `python -m scripts.docs_cli`; do not edit -->", _words(root.help)]
    parts.append("Shell completion: `parascribe completion bash|zsh|fish`.")
    parts.append(
        "Commands that talk to a running service find it at `--url`, else `PARASCRIBE_URL`, else `http://127.0.0.1:8000`. "
        "Where it needs a key, they send the one in `PARASCRIBE_API_KEY`."
    )
    codes = "\n".join(f"| {code:d} | {words} |" for code, words in MEANING.items())
    parts += ["## Exit codes", f"| code | meaning |\n|---|---|\n{codes}"]
    title, _, rules = (outputs.__doc__ or "").partition("\n\n")
    parts += ["## Where transcripts go", title, rules.strip()]
    parts += _commands(root, context, "parascribe")
    return "\n\n".join(parts) + "\n"


def _commands(group: Any, context: Any, prefix: str) -> list[str]:
    parts = []
    for name in sorted(group.commands):
        command, title = group.commands[name], f"{prefix} {name}"
        inner = typer.Context(command, info_name=name, parent=context)
        if hasattr(command, "commands"):
            parts += [f"## {title}", _words(command.help), *_commands(command, inner, title)]
            continue
        level = "##" if prefix == "parascribe" else "###"
        usage = " ".join(command.collect_usage_pieces(inner))
        parts += [f"{level} {title}", f"    {title} {usage}", _words(command.help)]
        records = [record for parameter in command.params if (record := parameter.get_help_record(inner))]
        if records:
            parts.append("\n".join(f"* `{_words(option)}`: {_words(text)}" for option, text in records))
    return parts


def _words(text: str) -> str:
    """One paragraph per blank line, whatever the source's line breaks."""
    return "\n\n".join(re.sub(r"\s+", " ", paragraph).strip() for paragraph in text.strip().split("\n\n"))


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
