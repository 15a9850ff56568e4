"""`python -m benchmarks.page FOLDER`: the reference page of all figures, made of the JSON and SVG files in a folder.

Writes docs/reference/benchmarks.md (and accuracy.md, if its result is among them) and puts the plots into
docs/explanation/plots, in place of those that were there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import accuracy_page
from benchmarks.__main__ import NAMES
from benchmarks.report import NOTICED, number

DOCS = Path(__file__).resolve().parent.parent / "docs"
VERDICTS = {True: "met", False: "**missed**", None: "not judged"}

Found = dict[str, Any]
"""What Result.to_dict gives."""


def read(folder: Path) -> list[Found]:
    """Results in the order of the benchmarks; other JSON files are left alone. Raises FileNotFoundError when there are none."""
    found = {}
    for path in folder.glob("*.json"):
        data = json.loads(path.read_text("utf-8"))
        if isinstance(data, dict) and data.get("benchmark") in NAMES:
            found[data["benchmark"]] = data
    if not found:
        raise FileNotFoundError(f"there are no results of benchmarks in {folder}")
    return [found[name] for name in NAMES if name in found]


def page(results: Sequence[Found], plots: Sequence[str]) -> str:
    """The page in Markdown. plots: file names `BENCHMARK-NAME.svg` in ../explanation/plots."""
    machines = list(dict.fromkeys(_machine(result) for result in results))
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks.page` from the results of `make bench` and `make bench-full`; do not edit. What the",
        "figures mean and why some goals are missed: [performance](../explanation/performance.md).",
        "",
        f"The machine: {'; '.join(machines)}.",
        "",
        "## Goals",
        "",
        "`others` is the largest share of the cores that other programs took during a measurement, where that was looked at.",
        "",
        *_table(["goal", "benchmark", "figure", "wanted", "measured", "", "scale", "others"], _goals(results)),
        "",
        "## All figures",
        "",
    ]
    for result in results:
        name = result["benchmark"]
        lines += [f"### {name}", "", _circumstances(result, several=len(machines) > 1), ""]
        lines += [
            *_table(
                ["figure", "measured", "goal", ""],
                [
                    [
                        figure["name"],
                        _value(figure),
                        f"{figure['goal']} {figure['wanted']}".strip(),
                        VERDICTS[figure["met"]] if figure["wanted"] else "",
                    ]
                    for figure in result["figures"]
                ],
            ),
            "",
        ]
        for plot in (plot for plot in plots if plot.startswith(f"{name}-")):
            title = plot.removeprefix(f"{name}-").removesuffix(".svg").replace("-", ", ")
            lines += [f"![{name}: {title}](../explanation/plots/{plot})", ""]
    return "\n".join(lines)


def _goals(results: Sequence[Found]) -> list[list[str]]:
    rows = [
        [
            figure["goal"],
            result["benchmark"],
            figure["name"],
            figure["wanted"],
            _value(figure),
            VERDICTS[figure["met"]],
            result["scale"],
            f"{result['disturbance']:.0%}",
        ]
        for result in results
        for figure in result["figures"]
        if figure["goal"]
    ]
    return sorted(rows, key=lambda row: (not row[0][1:].isdigit(), int(row[0][1:]) if row[0][1:].isdigit() else 0))


def _circumstances(result: Found, *, several: bool) -> str:
    parts = [f"Scale `{result['scale']}`", f"{result['seconds']:.0f} s"]
    if several:
        parts.append(_machine(result))
    others = result["disturbance"]
    parts.append(f"other programs took up to {others:.0%} of the cores" if others > NOTICED else "no disturbance noted")
    return ", ".join(parts) + "."


def _machine(result: Found) -> str:
    machine = result["machine"]
    units = ", ".join(machine["vector_units"]) or "no vector units known"
    model = f" {machine['model']}" if machine.get("model") else ""  # older results do not name it
    return f"{machine['cores']} cores,{model} {machine['architecture']} ({units}), {machine['memory_gib']} GiB"


def _value(figure: Found) -> str:
    return f"{number(figure['value'])} {figure['unit']}".strip()


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def write(folder: Path, docs: Path) -> None:
    """Make the page and the plots' folder anew."""
    results = read(folder)
    names = tuple(f"{result['benchmark']}-" for result in results)
    plots = sorted(path for path in folder.glob("*.svg") if path.name.startswith(names))
    target = docs / "explanation" / "plots"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.svg"):
        old.unlink()
    for plot in plots:
        (target / plot.name).write_bytes(plot.read_bytes())
    (docs / "reference" / "benchmarks.md").write_text(page(results, [plot.name for plot in plots]), "utf-8")
    for result in (result for result in results if result["benchmark"] == "accuracy"):
        (docs / "reference" / "accuracy.md").write_text(accuracy_page.page(result, _machine(result)), "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the benchmarks wrote to (their --out)")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the documentation (the project's)")
    options = parser.parse_args(arguments)
    try:
        write(options.folder, options.docs)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
