"""`parascribe tune`: the fastest split of this machine's cores into workers and threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parascribe.cli.commands.common import Exit, JsonOption, QuietOption, note, print_json, settings

if TYPE_CHECKING:
    from parascribe.tools.tuning import Tuning

_BUSY = 0.5
"""Load average from which on others take part in the measurement."""


def tune(
    model: Annotated[
        str | None,
        typer.Option("--model", help="The model to measure with [default: WHISPER_MODEL].", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=5, max=3600, help="How long to measure.")] = 90,
    write: Annotated[
        bool, typer.Option("--write", help="Set MAX_PARALLEL_WORKERS and WHISPER_THREADS in .env to the best.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Measure which number of workers and threads is the fastest here. Best done while the service is stopped.

    Each split of the cores transcribes the same 28 s chunks. SPEED is seconds of audio per second; EFFICIENCY is what
    that is of as many single cores; ONE CHUNK is how long a short file takes alone; MEMORY is that of the engine.
    """
    from parascribe.screen.render import table
    from parascribe.tools.dotenv import write_settings
    from parascribe.tools.tuning import tune as run

    conf = settings()
    found = run(conf, model or conf.whisper_model, seconds=seconds, say=(lambda _: None) if quiet else note)
    split = found.choice.throughput.split
    values = {"MAX_PARALLEL_WORKERS": split.workers, "WHISPER_THREADS": split.threads}
    path = Path(str(conf.model_config["env_file"])).absolute()
    written = write and found.complete  # the best of a few may be worse than the default
    if written:
        write_settings(path, values)
    if json:
        print_json(found.to_dict() | {"written": str(path) if written else None})
    else:
        table(("WORKERS", "THREADS", "SPEED", "EFFICIENCY", "ONE CHUNK", "MEMORY", "BEST FOR"), _rows(found))
    if not quiet:
        _remarks(found, values, path, written=written)
    if write and not written:
        note(
            f"parascribe: {path.name} was left as it is, since not all that can be chosen was measured: allow more --seconds"
        )
        raise typer.Exit(Exit.FAILED)


def _remarks(found: Tuning, values: dict[str, int], path: Path, *, written: bool) -> None:
    if found.load > _BUSY:
        note(f"warning: the machine was busy already (load {found.load:.1f}): others took part in what was measured")
    if found.skipped:
        note(f"No time was left for {', '.join(f'{split.workers} x {split.threads}' for split in found.skipped)}.")
    assigned = " ".join(f"{name}={value}" for name, value in values.items())
    if not written:
        note(f"The best for throughput of what was measured: {assigned} (--write puts it into {path.name}).")
        return
    note(f"Written to {path}: {assigned}. It takes effect when the service is started again.")
    for name in values.keys() & os.environ.keys():
        note(f"warning: the environment sets {name}={os.environ[name]}, which is stronger than {path.name}")


def _rows(found: Tuning) -> list[tuple[str, ...]]:
    best = found.choice
    rows: list[tuple[str, ...]] = []
    for one in found.measured:
        efficiency = found.efficiency(one)
        words = [word for word, chosen in (("throughput", best.throughput), ("latency", best.latency)) if chosen is one]
        remark = ", ".join(words) or ("(more than the cores)" if one.split.width > found.cores else "")
        rows.append(
            (
                str(one.split.workers),
                str(one.split.threads),
                f"{one.speed:.1f}",
                "-" if efficiency is None else f"{100 * efficiency:.0f} %",
                f"{one.alone:.2f} s",
                f"{one.memory_mb:.0f} MB",
                remark,
            )
        )
    return rows
