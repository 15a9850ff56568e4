"""Sequential against parallel on this machine: `python scripts/performance_test.py [--runs N] [--files M] [--workers 1,2,4,8]`.

Starts the real service once per number of workers, transcribes each file alone and then all files as one batch, and
prints times, speed-up, efficiency, deviation, CPU and memory; then what a simple model fitted to that says of more cores.
The model's weights are made (benchmarks.made): true size and cost, no accuracy.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import watch
from benchmarks.harness import Bench, Scale
from benchmarks.job import timed, warm_up
from benchmarks.meter import CORES, PssSampler, Span, tree
from benchmarks.report import NOTICED
from testbed.service import Service

TARGETS = {2: 1.87, 4: 3.52, 8: 5.52}
"""Speed-up asked for by workers: 60 chunks of a 30-minute file, where the cores exist."""

CHUNKS = 60

DISTURBED = 0.10
"""Share of the cores that others took, beyond which a fit says nothing: their share of the clock can be set off, their
share of the caches and of the memory's bandwidth cannot."""


@dataclass(kw_only=True)
class Row:
    """One number of workers. Walls in seconds, less what other programs took; cpu: per cent of one core.

    chunks: with speech, of each file (the files are equally long)
    """

    workers: int
    chunks: int = 1
    files: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    pss: float = 0.0
    disturbance: float = 0.0

    @property
    def file(self) -> float:
        return statistics.fmean(self.files)

    @property
    def batch(self) -> float:
        return statistics.fmean(self.batches)


@dataclass(frozen=True, kw_only=True)
class Model:
    """wall(w) = serial + chunk * (1 + contention * (w - 1)) * rounds, with ceil(chunks / w) rounds; seconds, one file."""

    serial: float
    chunk: float
    contention: float

    def wall(self, workers: int, chunks: int) -> float:
        return self.serial + self.chunk * (1 + self.contention * (workers - 1)) * math.ceil(chunks / workers)

    def speed_up(self, workers: int, chunks: int = CHUNKS) -> float:
        return self.wall(1, chunks) / self.wall(workers, chunks)


def fit(rows: Sequence[Row], cores: int = CORES) -> Model:
    """Least squares over the rows that fit into the cores; contention from the engine's CPU seconds.

    Contention is what sharing of memory and caches adds to a chunk's CPU per further worker.
    """
    usable = [row for row in rows if row.workers <= cores]
    base = statistics.median(usable[0].engine)
    growth = [(statistics.median(row.engine) / base - 1) / (row.workers - 1) for row in usable if row.workers > 1]
    contention = max(0.0, statistics.fmean(growth)) if growth else 0.0
    xs = [(1 + contention * (row.workers - 1)) * math.ceil(row.chunks / row.workers) for row in usable]
    ys = [row.file for row in usable]
    mean_x, mean_y = statistics.fmean(xs), statistics.fmean(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if not spread:
        return Model(serial=0.0, chunk=mean_y / mean_x, contention=contention)
    chunk = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    chunk = min(max(chunk, 0.0), mean_y / mean_x)  # a part below nothing is noise
    return Model(serial=mean_y - chunk * mean_x, chunk=chunk, contention=contention)


def measure(bench: Bench, workers: int, sources: Sequence[Path], model: Path, runs: int) -> Row:
    """One worker is sequential mode."""
    row = Row(workers=workers)
    env = {
        "MAX_PARALLEL_WORKERS": str(workers),
        "WHISPER_THREADS": "1",
        "USE_PARALLEL_TRANSCRIPTION": str(workers > 1).lower(),
    }
    with (
        bench.service(bench.libraries()[0], model, **env) as service,
        PssSampler(lambda: _tree(service), every=0.5) as sampler,
    ):
        warm_up(bench, service)
        for _ in range(runs):
            for source in sources:
                taken, job = timed(bench, service, source, width=min(workers, CORES))
                row.files.append(job["performance"]["wall"] * taken.alone / taken.wall)
                row.engine.append(job["performance"]["engine_seconds"] / job["audio"]["duration"])
                row.chunks = job["progress"]["chunks_total"]
                _note(row, taken)
            with bench.span(min(workers, CORES)) as taken:
                late = watch.transcribe_all(service, sources, language="en", seconds=7200)
            taken.wall -= late
            row.batches.append(taken.alone)
            _note(row, taken)
    row.pss = sampler.peak
    return row


def _note(row: Row, taken: Span) -> None:
    row.cpu.append(100 * taken.own / taken.wall)
    row.disturbance = max(row.disturbance, taken.disturbance)


def _tree(service: Service) -> list[int]:
    return tree(service.process.pid) if service.process is not None else []


def table(rows: Sequence[Row], minutes: float) -> str:
    """One line per number of workers."""
    one = rows[0]
    lines = [
        f"{'MODE':<13}{'PER FILE':>10}{'±':>7}{'SPEED-UP':>10}{'EFFIC.':>8}{'BATCH':>10}{'±':>7}{'SPEED-UP':>10}{'EFFIC.':>8}{'CPU':>7}{'PSS':>10}{'RTF':>8}"
    ]
    for row in rows:
        mode = "sequential" if row.workers == 1 else f"{row.workers} workers"
        file_up, batch_up = one.file / row.file, one.batch / row.batch
        lines.append(
            f"{mode:<13}{row.file:>8.2f} s{_deviation(row.files):>7.2f}{file_up:>10.2f}{file_up / row.workers:>8.0%}"
            f"{row.batch:>8.2f} s{_deviation(row.batches):>7.2f}{batch_up:>10.2f}{batch_up / row.workers:>8.0%}"
            f"{statistics.fmean(row.cpu):>6.0f}%{row.pss:>6.0f} MiB{row.file / 60 / minutes:>8.3f}"
            + ("  more workers than cores" if row.workers > CORES else "")
        )
    return "\n".join(lines)


def reliable(rows: Sequence[Row]) -> bool:
    """Whether the machine was idle enough for a model to be fitted to these rows."""
    return max(row.disturbance for row in rows) <= DISTURBED


def forecast(model: Model, *, trusted: bool = True) -> str:
    """What the fitted model says of other numbers of cores; nothing of it was measured."""
    lines = (
        []
        if trusted
        else [
            "UNRELIABLE: the machine was not idle, so the table is rough and the model below says little. Run it again when it is."
        ]
    )
    lines += [
        f"MODEL, fitted to the rows within {CORES} cores{'' if trusted else ' (unreliable)'}: {model.serial:.2f} s that do not divide, {model.chunk:.2f} s per chunk,",
        f"{model.contention:.1%} more for each further worker (memory and caches).",
        f"Not measured: for a file of {CHUNKS} chunks, on as many cores as workers, it gives",
    ]
    for workers in (2, 4, 8, 16):
        up = model.speed_up(workers)
        target = f"  (asked for: {TARGETS[workers]:.2f})" if workers in TARGETS else ""
        lines.append(f"  {workers:>3} workers: speed-up {up:5.2f}, efficiency {up / workers:4.0%}{target}")
    return "\n".join(lines)


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2, help="how often everything is done (%(default)s)")
    parser.add_argument("--files", type=int, default=2, help="files per batch (%(default)s)")
    parser.add_argument(
        "--workers", default=",".join(str(n) for n in (1, 2, 4, 8) if n <= max(2, CORES)), help="%(default)s"
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="length of each file (%(default)s)")
    parser.add_argument(
        "--size", choices=("demo", "base", "small", "medium"), default="base", help="size of the model (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write the raw figures there as JSON")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the blocks that stop the service
    workers = sorted({1, *(int(word) for word in options.workers.split(","))})
    scale = Scale.SMOKE if options.size == "demo" else Scale.BENCH
    with tempfile.TemporaryDirectory(prefix="parascribe-performance-") as folder:
        bench = Bench("performance", scale, Path(folder))
        model = bench.model(options.size)
        sources = [bench.wav(bench.speech(options.minutes, seed=n + 1)[0], f"file{n}") for n in range(options.files)]
        library = bench.libraries()[0]
        print(
            f"{options.files} files of {options.minutes:g} min, {options.runs} runs, {options.size} model, "
            f"{library.kind} library {library.version}, {CORES} cores",
            file=sys.stderr,
        )
        rows = []
        for number in workers:
            print(f"  {number} worker{'s' if number > 1 else ''} ...", file=sys.stderr, flush=True)
            rows.append(measure(bench, number, sources, model, options.runs))
    print(table(rows, options.minutes))
    if (disturbed := max(row.disturbance for row in rows)) > NOTICED:
        print(f"Other programs took up to {disturbed:.0%} of the cores; walls are given less their share.")
    fitted, trusted = fit(rows), reliable(rows)
    print(forecast(fitted, trusted=trusted))
    if options.out:
        options.out.write_text(
            json.dumps(
                {"rows": [asdict(row) for row in rows], "model": asdict(fitted) | {"reliable": trusted}}, indent=2
            )
            + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
