"""Each process loads only what it works with: memory is paid per process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("module", "never"),
    [
        (
            "parascribe.run.services",
            {
                "numpy",
                "fastapi",
                "celery",
                "alembic",
                "pydub",
                "httpx",
                "psycopg",
                "minio",
                "prometheus_client",
                "opentelemetry",
            },
        ),
        ("parascribe.run.api_main", {"numpy", "celery", "alembic", "pydub", "httpx", "psycopg", "minio"}),
        (
            "parascribe.run.consumer_main",
            {"prometheus_client", "opentelemetry", "fastapi", "celery", "alembic", "httpx", "psycopg", "minio"},
        ),
        ("whisper.host.manager", {"numpy", "sqlalchemy", "fastapi", "celery"}),
        ("whisper.host.main", {"opentelemetry", "numpy", "sqlalchemy", "fastapi", "celery", "pydantic"}),
    ],
)
def test_a_process_imports_no_more_than_it_needs(module: str, never: set[str]) -> None:
    code = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not never & set(done.stdout.split())


def test_a_command_does_not_load_the_command_line_of_httpx() -> None:
    code = "import sys; from parascribe.__main__ import run; run(); print(*({'httpx', 'click'} & sys.modules.keys()))"
    command = [sys.executable, "-c", code, "status", "job-1", "--url", "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["httpx"], done.stderr
