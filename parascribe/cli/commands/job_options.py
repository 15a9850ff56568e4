"""Options on the command line, made from their tables."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from core.options import Option, options

Command = Callable[..., None]


def with_options(table: type, *, before: str, only: Collection[str] | None = None) -> Callable[[Command], Command]:
    """Gives a command the options of a table, ahead of its parameter `before`; its `**params` get those that were given.

    only: those of these names
    """

    def decorate(run: Command) -> Command:
        chosen = [option for option in options(table) if only is None or option.name in only]
        names = {option.name for option in chosen}
        parameters = []
        for name, parameter in inspect.signature(run, eval_str=True).parameters.items():
            if name == before:
                parameters += [_parameter(option) for option in chosen]
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(run)
        def command(**given: Any) -> None:
            mine = {name: _read(name, given.pop(name)) for name in names & given.keys() if given[name] is not None}
            run(**{name: value for name, value in given.items() if name not in names}, **mine)

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def _parameter(option: Option) -> inspect.Parameter:
    words, flag = option.about, option.name.replace("_", "-")
    # what the service refuses is refused by the service, in its words
    kind: Any = str if option.kind in (object, dict, list) else option.kind
    if words.flag:
        flag, kind = words.flag, list[str]
    described = typer.Option(
        f"--{flag}/--no-{flag}" if option.default is True else f"--{flag}",
        *([words.short] if words.short else ()),
        autocompletion=_values(option),
        metavar=words.metavar or "|".join(option.choices) or None,
        help=_help(option),
        show_default=False,
    )
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, described]
    )


def _read(name: str, value: Any) -> Any:
    if name != "known_speakers":
        return value
    from parascribe.client.known_speakers import data_url

    known = []
    for text in value:
        who, equals, file = text.partition("=")
        try:
            known.append({"name": who} | ({"sample": data_url(Path(file))} if equals else {}))
        except OSError as error:
            raise typer.BadParameter(f"--known-speaker {who}: {error}") from error
    return known


def _values(option: Option) -> Callable[[], list[str]] | None:
    """What the shell offers for it, where that can be told from the table."""
    return (lambda: list(option.choices)) if option.choices else None


def _help(option: Option) -> str:
    words = option.about
    usual = f", default: {option.default:g}" if option.kind in (int, float) and option.default else ""
    bounds = f" [{words.ge:g} to {words.le:g}{usual}]" if words.ge is not None and words.le is not None else ""
    default = f" [default: {option.default}]" if option.choices else ""
    return words.help + bounds + default
