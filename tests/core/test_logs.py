"""Logs: standard loggers end in one place, as text or JSON, with the job's id, levels by module, and braces left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import logging, sys
from core.system import logs
logs.setup(sys.argv[1], sys.argv[2], role="test")
with logs.bound(job_id="job-1"):
    logging.getLogger("worker.flow").info("100%% of {braces} in %s", "{x}")
logging.getLogger("api.app").info("GET /psk_0a1b2c3d_" + "s" * 32)
logging.getLogger("api.app").info("GET /%s", "x\\n2026 INFO forged \\x1b[2J\\u2028y\\tz")
logging.getLogger("worker.flow").debug("a detail")
logging.getLogger("api.app").debug("another detail")
try:
    secret = "hunter2"
    raise ValueError("broken")
except ValueError:
    logging.getLogger("api.app").exception("It failed")
"""


def run(level: str, fmt: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level, fmt], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr


def test_text():
    lines = run("INFO,worker=DEBUG", "text")
    assert "test[" in lines and "job-1 100% of {braces} in {x}" in lines
    assert "a detail" in lines and "another detail" not in lines
    assert "GET /psk_0a1b2c3d_..." in lines and "s" * 32 not in lines
    assert r"GET /x\n2026 INFO forged \x1b[2J\u2028y" in lines, "nobody outside writes lines of his own"
    assert "ValueError: broken" in lines and "hunter2" not in lines.replace('secret = "hunter2"', "")


def test_json():
    records = [json.loads(line)["record"] for line in run("INFO", "json").splitlines()]
    assert records[0]["extra"]["job_id"] == "job-1" and records[0]["message"] == "100% of {braces} in {x}"
    assert records[-1]["exception"]["type"] == "ValueError"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("INFO", ("INFO", {})),
        ("warning,api=debug", ("WARNING", {"api": "DEBUG"})),
        ("worker.flow=TRACE", ("INFO", {"worker.flow": "TRACE"})),
    ],
)
def test_levels(spec, expected):
    from core.system.logs import parse_levels

    assert parse_levels(spec) == expected
