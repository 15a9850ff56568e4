"""The page in Firefox: a file goes in, its text comes out and can be heard."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx

from scripts import npm
from scripts.browsers import FIREFOX, find
from testbed.service import PLAIN, Service
from tests.skipping import skip_on_a_laptop

NODE = Path(__file__).parent / "node"


def test_from_a_file_to_its_text(service: Service, speech: Callable[..., Path], tmp_path: Path) -> None:
    program = find(FIREFOX)
    if program is None:
        skip_on_a_laptop("Firefox is not installed (python -m scripts.browsers)")
    try:
        npm.install(NODE)
    except npm.NoPackages as error:
        skip_on_a_laptop(str(error))
    # a home of its own: Firefox keeps profiles and caches there, and root may not use another's
    done = subprocess.run(
        ["node", "firefox.mjs", program, service.url, str(speech("firefox.wav"))],
        cwd=NODE,
        env={**os.environ, "HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["troubles"] == [] and "failed" not in seen, seen
    assert seen["title"] and seen["played"]
    (job,) = (job for job in _jobs(service) if job in seen["address"])
    said = service.result(job, "txt").text.split()
    assert said and all(word in seen["text"] for word in said)


def _jobs(service: Service) -> list[str]:
    answer = httpx.get(f"{service.url}/api/v1/jobs", params={"limit": 100}, verify=PLAIN)
    return [job["id"] for job in answer.json()["items"]]
