"""`python -m benchmarks [NAME ...] [--full | --smoke] [--rounds N] [--out DIR]`: run benchmarks, print a table, write JSON and plots.

`python -m benchmarks soak ...` is `python -m benchmarks.soak ...`.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmarks.harness import Bench, CannotRun, Scale
from benchmarks.report import Result, table

if TYPE_CHECKING:
    from benchmarks.live.service import Live

NAMES = (
    "build",
    "engine",
    "sharing",
    "accuracy",
    "parity",
    "job",
    "peers",
    "ct2",
    "memory",
    "latency",
    "first_chunk",
    "vad",
    "longfile",
    "growth",
    "upload",
    "reads",
    "follow",
    "queue",
    "search",
    "browser",
    "fairness",
    "speakers",
    "beside",
    "enhance",
    "known",
    "align",
    "speaker_words",
    "live.latency",
    "live.capacity",
    "live.overlap",
    "live.accuracy",
    "live.memory",
    "live.beside",
    "live.kills",
)


def run(name: str, scale: Scale, *, rounds: int = 1, seconds: float | None = None, given: Live | None = None) -> Result:
    """Run one benchmark: `benchmarks/NAME.py` (or `A/B.py` for A.B), whose `run(bench)` fills in `bench.result`."""
    module = importlib.import_module(f"benchmarks.{name}")
    with tempfile.TemporaryDirectory(prefix="parascribe-bench-") as folder:
        bench = Bench(name, scale, Path(folder), rounds=rounds, seconds=seconds, given=given)
        began = time.monotonic()
        module.run(bench)
        bench.result.seconds = time.monotonic() - began
    return bench.result


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["soak"]:
        return int(importlib.import_module("benchmarks.soak").main(arguments[1:]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which ({', '.join(NAMES)}, or live for all of those); all when none is given",
    )
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--full", action="store_true", help="at the lengths and sizes the goals name (hours)")
    scale.add_argument("--smoke", action="store_true", help="seconds each, on the demo model: proves that they run")
    parser.add_argument("--rounds", type=int, default=1, help="repeat what decides, in turn with its baseline; medians")
    parser.add_argument("--seconds", type=float, help="for how long streams are played, or audio of so many seconds")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/out"), help="folder for JSON and SVG (%(default)s)"
    )
    options = parser.parse_args(arguments)
    names = _known(options.names)
    if unknown := set(names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    signal.signal(signal.SIGTERM, _stop)  # as Ctrl-C does: services that were started are stopped
    results, failed = [], []
    for name in names:
        print(
            f"{name}: {(importlib.import_module(f'benchmarks.{name}').__doc__ or '').splitlines()[0]}",
            file=sys.stderr,
            flush=True,
        )
        try:
            result = run(
                name,
                Scale.FULL if options.full else Scale.SMOKE if options.smoke else Scale.BENCH,
                rounds=options.rounds,
                seconds=options.seconds,
            )
        except KeyboardInterrupt:
            print("Stopped.", file=sys.stderr)
            failed.append(name)
            break
        except CannotRun as error:
            print(f"{name} cannot run here: {error}", file=sys.stderr)
            failed.append(name)
            continue
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        result.write(options.out)
        results.append(result)
    if results:
        print(table(results))
        print(f"JSON and plots: {options.out}", file=sys.stderr)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _known(names: Sequence[str]) -> list[str]:
    """What is asked for: all, or these; A stands for all A.B."""
    given = [[one for one in NAMES if one.startswith(f"{name}.")] or [name] for name in names]
    return [one for several in given for one in several] or [*NAMES]


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
