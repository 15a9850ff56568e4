"""A large upload into the API alone: how much its memory grows, and its rate against writing and hashing the same bytes (P9)."""

from __future__ import annotations

import hashlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.harness import Bench
from benchmarks.meter import PssSampler, Span, pss, tree
from benchmarks.report import Figure

BLOCK = 1 << 20
BOUNDARY = "parascribe-benchmark"


def run(bench: Bench) -> None:
    size = bench.pick(smoke=8, bench=500, full=2000) * 10**6
    source = _file(bench, size)
    with api(bench) as (url, pid):
        _send(url, source)  # the first one loads modules and starts threads
        before = pss(tree(pid))
        with PssSampler(lambda: tree(pid), every=0.05) as sampler:
            _send(url, source)
        growth = sampler.peak - before

        def uploaded() -> Span:
            with bench.span() as taken:
                _send(url, source)
            return taken

        def written() -> Span:
            with bench.span() as taken:
                _write_and_hash(source, bench.folder / "copy")
            return taken

        bench.rounds = max(bench.rounds, bench.pick(smoke=1, bench=3, full=5))
        uploads, writes = bench.repeat({"upload": uploaded, "write and hash": written}).values()
    rates = [theirs.wall / mine.wall for mine, theirs in zip(uploads, writes, strict=True)]
    bench.result.figures += [
        Figure(name=f"memory growth, {size / 1e6:g} MB", value=growth, unit="MiB", goal="P9", at_most=56.0),
        Figure(
            name="rate ÷ rate of writing and hashing",
            value=statistics.median(rates),
            goal="P9",
            at_least=0.6,
            judged=not bench.smoke,
        ),
        Figure(name="upload", value=statistics.median(size / 1e6 / taken.wall for taken in uploads), unit="MB/s"),
        Figure(
            name="write and hash", value=statistics.median(size / 1e6 / taken.wall for taken in writes), unit="MB/s"
        ),
    ]
    bench.result.details = {
        "rates": rates,
        "uploads": [taken.to_dict() for taken in uploads],
        "writes": [taken.to_dict() for taken in writes],
        "idle_mib": round(before, 1),
        "peak_mib": round(sampler.peak, 1),
    }


@contextmanager
def api(bench: Bench, **env: str) -> Iterator[tuple[str, int]]:
    """`parascribe api` in a folder of its own, without a consumer: what is uploaded waits. Yields (url, pid)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    folder = bench.folder / "api"
    folder.mkdir(exist_ok=True)
    settings = {
        "API_PORT": str(port),
        "DATA_DIR": str(folder / "data"),
        "WHISPER_MODEL": "demo",
        "MAX_UPLOAD_MB": "8192",
        "LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "parascribe", "api"], env=kept | settings | env, cwd=folder, stdin=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.HTTPError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the API did not start") from None
            time.sleep(0.05)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(15)


def _file(bench: Bench, size: int) -> Path:
    """A wav of that many bytes; what is in it does not matter here, but it must not compress or be sparse."""
    path = bench.wav(bench.speech(0.02)[0], "large")
    with path.open("ab") as out:
        block = os.urandom(BLOCK)
        while (left := size - out.tell()) > 0:
            out.write(block[:left])
    return path


def _send(url: str, path: Path) -> None:
    """One multipart request over a plain socket: a client that costs next to nothing."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    host, _, port = url.removeprefix("http://").partition(":")
    length = len(head) + path.stat().st_size + len(tail)
    with socket.create_connection((host, int(port)), timeout=600) as sock, path.open("rb") as data:
        sock.sendall(
            (
                f"POST /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n"
                f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
            ).encode()
            + head
        )
        sock.sendfile(data)
        sock.sendall(tail)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 202"), answer[:500]


def _write_and_hash(source: Path, target: Path) -> None:
    """The same bytes to the same disk, as durable as the store's, in one thread."""
    digest = hashlib.sha256()
    with source.open("rb", buffering=0) as data, target.open("wb", buffering=0) as out:
        while block := data.read(BLOCK):
            digest.update(block)
            out.write(block)
        os.fsync(out.fileno())
    target.unlink()
