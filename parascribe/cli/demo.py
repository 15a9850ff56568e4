"""`parascribe demo`: the whole service, started, used and stopped.

On recordings of people with a published model where those come soon, else with nothing but what is in the package.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

import parascribe
from core.config.files import ConfigError
from core.config.loading import load
from core.config.settings import Settings
from core.errors import ServiceError
from core.system.processes import spawn, stop
from parascribe.cli.items import Item, deliver_to
from parascribe.cli.pipeline import Pipeline, transcribe_all
from parascribe.client.client import Client
from parascribe.client.errors import ClientError
from parascribe.run.wiring.models import open_downloader, open_models
from parascribe.screen.outputs import Outputs
from parascribe.screen.progress import download_progress, reporter
from parascribe.screen.render import duration
from parascribe.tools.recordings import RECORDINGS, fetch_recordings
from whisper import DATA
from whisper.download.part import Patience

START_SECONDS = 60.0
STOP_SECONDS = 40.0
LOG_LINES = 40

KEPT = frozenset({"ENGINE_DIR", "WHISPER_LIBRARY", "MAX_PARALLEL_WORKERS", "WHISPER_THREADS", "LOG_LEVEL"})
"""Settings that the demo's service takes over: how this machine computes. All others would be somebody's data."""


MODEL = "base"
FETCH_SECONDS = 60.0
"""Model and recordings come within this time, or the demo does with what is bundled."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What is transcribed with which model. models: the folder it lies in, None = bundled; about: said of the files"""

    model: str
    models: Path | None
    files: list[Path]
    about: list[str]


class DemoFailed(Exception):
    """The message says what did not work."""


def run(*, keep: bool = False) -> int:
    """Transcribe recordings, or else the bundled samples; returns an exit code.

    Transcripts go to stdout, everything else to stderr. On failure the end of the service's log is shown.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="parascribe-demo-"))
    log = folder / "service.log"
    try:
        material = _real() or Material(model="demo", models=None, files=find_samples(), about=[])
        fetched = time.monotonic()
        with _service(folder, log, material) as url:
            ready = time.monotonic()
            _say(f"The service is up at {url} after {duration(ready - fetched)}.")
            for line in material.about:
                _say(line)
            jobs = _transcribe(url, material)
            _say(_summary(jobs, time.monotonic() - ready))
        _say(f"The service has stopped. Demo done in {duration(time.monotonic() - began)}.")
    except (DemoFailed, ClientError) as error:
        _say(f"The demo failed: {error}\nThe end of the service's log:")
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else ["(there is none)"]
        _say("\n".join(f"  {line}" for line in lines[-LOG_LINES:]))
        return 1
    finally:
        if keep:
            _say(f"Kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _real() -> Material | None:
    """Model and recordings where the service of this folder has them too; None, with the reason said, when they do not come."""
    end = time.monotonic() + FETCH_SECONDS
    try:
        settings = load()
        models = open_models(settings)
        if models.path(MODEL) is None:
            _say(f"The model {MODEL} is fetched; it stays in {settings.models_path}, where the service uses it.")
        with download_progress(MODEL) as progress:
            open_downloader(settings, models, None, total_timeout=FETCH_SECONDS).ensure_model_exists(
                MODEL, progress=progress
            )
        files = fetch_recordings(settings.data_dir.absolute() / "demo", Patience(deadline=end), RECORDINGS)
    except (ServiceError, ConfigError) as error:
        _say(
            f"{error}\nSo the bundled demo model transcribes the bundled samples: it knows a small grammar, and no real speech."
        )
        return None
    about = [
        f"{recording.file}: {recording.title}; {recording.licence}; from {recording.source}" for recording in RECORDINGS
    ]
    return Material(model=MODEL, models=models.folder, files=files, about=about)


def find_samples() -> list[Path]:
    """The bundled media files. Raises DemoFailed when there are none."""
    folder = DATA / "samples"
    samples = sorted(path for path in folder.glob("*") if path.suffix in (".wav", ".flac", ".mp3", ".mp4"))
    if not samples:
        raise DemoFailed(f"there are no samples in {folder}")
    return samples


def demo_environment(folder: Path, port: int, material: Material) -> dict[str, str]:
    """The service's environment: this one's, without settings that lead to somebody's data."""
    settings = {name.upper() for name in Settings.model_fields} - KEPT
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in settings}
    # the service runs in a folder of its own, so that no .env and no parascribe.toml reaches it
    packages = os.pathsep.join(filter(None, [str(Path(parascribe.__path__[0]).parent), os.environ.get("PYTHONPATH")]))
    return inherited | {
        "PYTHONPATH": packages,
        "DATA_DIR": str(folder / "data"),
        "WHISPER_MODEL": material.model,
        "WHISPER_MODELS_DIR": str(material.models or ""),
        "API_HOST": "127.0.0.1",
        "API_PORT": str(port),
    }


@contextlib.contextmanager
def _service(folder: Path, log: Path, material: Material) -> Iterator[str]:
    """`parascribe serve` as a process; its address once it is ready. Raises DemoFailed."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out, contextlib.chdir(folder):
        command = [sys.executable, "-m", "parascribe", "serve"]
        process = spawn(command, env=demo_environment(folder, port, material), stdout=out, stderr=out)
    try:
        _wait_until_ready(process, url)
        yield url
    finally:
        clean = _stop(process)
    if not clean:
        raise DemoFailed("the service did not stop cleanly")


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DemoFailed(f"the service ended with exit code {process.returncode} while starting")
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{url}/readyz").is_success:
                    return
            time.sleep(0.1)
    raise DemoFailed(f"the service was not ready within {START_SECONDS:.0f} s")


def _transcribe(url: str, material: Material) -> list[dict[str, Any]]:
    names = [Path(file.name) for file in material.files]  # the whole path would only distract
    items = [Item(file=name) for name in names]
    with (
        contextlib.chdir(material.files[0].parent),
        Client(url) as client,
        reporter() as report,
        Pipeline(client, {"model": material.model}, report) as pipeline,
    ):
        transcribe_all(pipeline, items, deliver_to(Outputs.plan(names, (), "-")))
    failed = [item.file.name for item in items if item.status != "completed"]
    if failed:
        raise DemoFailed(f"not transcribed: {', '.join(failed)}")
    return [cast("dict[str, Any]", item.job) for item in items]


def _summary(jobs: list[dict[str, Any]], seconds: float) -> str:
    heard = sum(job["audio"]["duration"] for job in jobs)
    return f"{len(jobs)} files, {duration(heard)}, transcribed in {duration(seconds)} (real-time factor {seconds / heard:.2f})."


def _stop(process: subprocess.Popen[bytes]) -> bool:
    """SIGTERM and wait; True when it went by itself."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        return process.wait(STOP_SECONDS) == 0
    except subprocess.TimeoutExpired:
        stop(process)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
