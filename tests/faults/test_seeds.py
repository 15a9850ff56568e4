"""200 single faults against the flow, by number: see tests/faults/seeds.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.faults.rig import ROOT

SEEDS = 200
AT_ONCE = 2


@pytest.mark.timeout(600)
def test_single_faults() -> None:
    ranges = [f"{SEEDS * n // AT_ONCE}-{SEEDS * (n + 1) // AT_ONCE - 1}" for n in range(AT_ONCE)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.seeds", "--seeds", seeds], cwd=ROOT, text=True, env=dict(os.environ),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for seeds in ranges
    ]  # fmt: skip
    said = [process.communicate()[0] for process in running]
    for process, output in zip(running, said, strict=True):
        print(output.splitlines()[-1])
        assert process.returncode == 0, output[-8000:]
        assert f"{SEEDS // AT_ONCE} seeds" in output and " 0 broken invariants" in output
