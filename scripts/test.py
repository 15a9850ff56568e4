"""Runs all tests against real servers started here: `make test`, `python -m scripts.test [pytest arguments]`.

Three processes side by side, each with servers of its own: more than half of a test's time is waiting. `-n 0` is one alone.
pytest's own summary comes last; before it, how long each part took.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import PurePath

import pytest


class TimeByFolder:
    """Seconds and tests per folder below tests/."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._tests: dict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        path = PurePath(report.nodeid.split("::")[0])
        part = path.parts[1] if len(path.parts) > 2 else path.stem
        self._seconds[part] += report.duration
        self._tests[part] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("time by part")
        for part, seconds in sorted(self._seconds.items(), key=lambda item: -item[1]):
            terminalreporter.write_line(f"{part:<14} {self._tests[part]:>5} tests {seconds:>8.1f} s")


SIDE_BY_SIDE = ("--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder")
"""A module's tests stay together, for its fixtures; in the order of the folders, so that the long modules do not come last."""


def main(arguments: list[str]) -> int:
    # a thousand programs are started: each would compile anew all that it imports, which takes as long as most of the tests
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # numpy's threads wait for one another by spinning, beside the other processes for many times what they work
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return int(pytest.main([*SIDE_BY_SIDE, *arguments], plugins=[TimeByFolder()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
