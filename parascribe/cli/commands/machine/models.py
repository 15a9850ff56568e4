"""`parascribe models`: the model files on this machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from parascribe.cli.commands.common import Exit, JsonOption, QuietOption, each, note, print_json, settings

if TYPE_CHECKING:
    from whisper.models.store import ModelStatus

app = typer.Typer(
    no_args_is_help=True,
    help="The model files on this machine (WHISPER_MODELS_DIR): list, pull, quantize, verify, remove.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name, as `parascribe models list` shows it.")]
Kind = Literal[
    "q8_0", "q5_1", "q5_0", "q4_0", "q4_K"
]  # whisper.workshop.quantize.KINDS, which takes too long to import


@app.command("list")
def list_(
    here: Annotated[bool, typer.Option("--here", help="Only those that are here.")] = False, json: JsonOption = False
) -> None:
    """List all models that can be asked for: size, whether the file is here, what it can do, where it may be fetched (MODEL_SOURCES)."""
    from parascribe.run.wiring.models import open_downloader, open_models
    from parascribe.run.wiring.stores import open_objects
    from parascribe.screen.render import size, table

    conf = settings()
    store = open_models(conf)
    downloader = open_downloader(conf, store, open_objects(conf) if conf.minio_endpoint else None)
    rows = [model for model in store.list() if model.installed or not here]
    sources = {model.info.name: ("bundled",) if model.bundled else downloader.sources_of(model.info) for model in rows}
    if json:
        print_json([_body(model) | {"sources": sources[model.info.name]} for model in rows])
        return
    table(
        ("NAME", "SIZE", "STATE", "LANGUAGES", "TRANSLATES", "SOURCES"),
        [
            (
                model.info.name,
                size(model.bytes) if model.bytes else "?",
                _state(model),
                "many" if model.info.multilingual else "English",
                "yes" if model.info.translates else "no",
                ", ".join(sources[model.info.name]) or "-",
            )
            for model in rows
        ],
    )


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Models to fetch.")], quiet: QuietOption = False
) -> None:
    """Fetch models and check them. One that is here and right is left as it is; an unfinished download goes on."""
    from parascribe.run.wiring.models import open_downloader, open_models
    from parascribe.run.wiring.stores import open_objects
    from parascribe.screen.progress import reporter

    conf = settings()
    downloader = open_downloader(conf, open_models(conf), open_objects(conf) if conf.minio_endpoint else None)
    with reporter(quiet=quiet) as report:

        def fetch(name: str) -> None:
            path = downloader.ensure_model_exists(name, progress=partial(report.bytes, name, "downloading"))
            report.end(name, f"verified, {path}")

        well = each(names, fetch)
    if not well:
        raise typer.Exit(Exit.FAILED)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Models to check [default: all that are here].", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check size, SHA-256 and header of model files. Exit code 1 when one is not what its name promises."""
    from core.errors import ModelInvalid, ModelUnavailable
    from parascribe.run.wiring.models import open_models
    from parascribe.screen.render import table

    store = open_models(settings())
    verdicts: list[tuple[str, bool, str]] = []
    for name in names or [model.info.name for model in store.list() if model.installed]:
        try:
            valid = store.validate(name)
        except (ModelInvalid, ModelUnavailable) as error:
            verdicts.append((name, False, error.message))
        else:
            pinned = "" if valid.info.sha256 else " (unpinned: no published checksum)"
            verdicts.append((name, True, f"sha256 {valid.sha256}{pinned}"))
    if json:
        print_json([{"name": name, "ok": ok, "detail": detail} for name, ok, detail in verdicts])
    else:
        table(("NAME", "STATE", "DETAIL"), [(name, "ok" if ok else "broken", detail) for name, ok, detail in verdicts])
    if not all(ok for _, ok, _ in verdicts):
        raise typer.Exit(Exit.FAILED)


@app.command()
def quantize(
    name: Name,
    kind: Annotated[
        Kind,
        typer.Argument(
            metavar="KIND", help="q8_0 (half the size, the text hardly changes), q5_1, q5_0, q4_0 or q4_K (a third)."
        ),
    ],
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Make a smaller copy of an f16 model that is here, and measure both: size, speed, text.

    The copy of `base` as q8_0 is `local:base-q8_0-own`: it is not the published file `base-q8_0` and has no checksum.
    """
    from parascribe.screen.progress import reporter
    from parascribe.screen.render import size, table
    from parascribe.tools.quantised import make

    with reporter(quiet=quiet) as report:
        found = make(
            settings(), name, kind, progress=partial(report.bytes, name, "quantising"), say=partial(report.end, name)
        )
    if json:
        print_json(found.to_dict())
        return
    rows = [
        (side.name, size(side.path.stat().st_size), f"{side.figures.cpu_seconds:.2f} s")
        for side in (found.source, found.copy)
    ]
    table(("NAME", "SIZE", f"CPU FOR {found.copy.figures.audio_seconds:.0f} S OF SPEECH"), rows)
    different, words = found.words
    if not quiet:
        note(
            f"{found.speed_up:.2f} times the speed with the {found.library} library; {different} of {words} words differ in the sample."
        )
        note(f"To use it: WHISPER_MODEL={found.copy.name}, or --model {found.copy.name} for one job.")


@app.command()
def remove(names: Annotated[list[str], typer.Argument(metavar="NAME", help="Models to remove.")]) -> None:
    """Remove model files and unfinished downloads. Running jobs keep what they have loaded."""
    from parascribe.run.wiring.models import open_models

    store = open_models(settings())
    if not each(names, lambda name: note(f"{name}: removed" if store.remove(name) else f"{name}: was not here")):
        raise typer.Exit(Exit.FAILED)


def _state(model: ModelStatus) -> str:
    if not model.installed:
        return "-"
    return "broken" if model.verified is False else "here" if model.verified else "here, unchecked"


def _body(model: ModelStatus) -> dict[str, object]:
    return {
        "name": model.info.name,
        "bytes": model.bytes,
        "installed": model.installed,
        "verified": model.verified,
        "pinned": model.pinned,
        "multilingual": model.info.multilingual,
        "translates": model.info.translates,
        "path": str(model.path) if model.path else None,
    }
