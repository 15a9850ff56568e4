"""What a benchmark found: figures with their goals, the raw data behind them, a plot. As JSON, table and SVG."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.plot import Plot

NOTICED = 0.03
"""Share of the cores that others took, from which on it is mentioned."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number. goal: which of the P goals it speaks of; it is met within [at_least, at_most].

    judged: False where the scale or machine is not the goal's, so that a miss or a hit would say nothing
    """

    name: str
    value: float
    unit: str = ""
    goal: str = ""
    at_most: float | None = None
    at_least: float | None = None
    judged: bool = True

    @property
    def met(self) -> bool | None:
        if not self.judged or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def wanted(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "goal": self.goal,
            "wanted": self.wanted,
            "met": self.met,
        }


@dataclass(kw_only=True)
class Result:
    """disturbance: largest share of the cores that other programs took during a measurement; 0 = nobody else was there."""

    name: str
    scale: str = ""
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    plots: list[Plot] = field(default_factory=list)
    seconds: float = 0.0
    disturbance: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "benchmark": self.name,
            "scale": self.scale,
            "machine": machine(),
            "seconds": round(self.seconds, 1),
            "disturbance": round(self.disturbance, 3),
            "figures": [figure.to_dict() for figure in self.figures],
            "details": self.details,
        }

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n")
        for plot in self.plots:
            (folder / f"{self.name}-{plot.name}.svg").write_text(plot.svg())


def machine() -> dict[str, Any]:
    """The kind of machine, without its name."""
    flags: set[str] = set()
    model = ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
        flags = next(set(line.split(":")[1].split()) for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        pass
    known = ("avx2", "avx512f", "avx512_vnni", "amx_int8", "asimd", "sve")
    return {
        "model": model,
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "vector_units": [name for name in known if name in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
    }


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(results: list[Result]) -> str:
    rows = [("BENCHMARK", "FIGURE", "VALUE", "GOAL", "")]
    for result in results:
        for figure in result.figures:
            verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
            goal = f"{figure.goal} {figure.wanted}".strip()
            rows.append((result.name, figure.name, f"{number(figure.value)} {figure.unit}".strip(), goal, verdict))
        if result.disturbance > NOTICED:
            rows.append(
                (result.name, f"note: other programs took up to {result.disturbance:.0%} of the cores", "", "", "")
            )
    widths = [max(len(row[column]) for row in rows if row[1][:5] != "note:") for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
