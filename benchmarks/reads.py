"""Status reads while jobs run: how many a core of the API serves, and how long the slowest hundredth takes (P10)."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

from benchmarks import watch
from benchmarks.harness import Bench
from benchmarks.job import cpu_by_kind, warm_up
from benchmarks.report import Figure
from testbed.service import Service
from whisper.wire.process import die_with

CLIENTS = 4


def run(bench: Bench) -> None:
    seconds = bench.pick(smoke=0.2, bench=8.0, full=20.0)
    source = bench.wav(bench.speech(bench.pick(smoke=0.5, bench=15.0, full=60.0))[0], "talk")
    with bench.service(bench.libraries()[0], bench.model("base"), ENGINE_NICE="5") as service:
        warm_up(bench, service)
        job = service.submit(source, language="en")["id"]
        watch.wait(service, job, lambda body: body["status"] == "processing", every=0.02)
        loads = [_load(bench, service, job, seconds) for _ in range(bench.pick(smoke=1, bench=2, full=5))]
        busy = service.job(job)["status"] == "processing"
        watch.cancel(service, job)
    for name in loads[0]:
        bench.result.details[name] = [load[name] for load in loads]
    middle = {name: statistics.median(load[name] for load in loads) for name in loads[0]}
    judged = busy and not bench.smoke
    bench.result.figures += [
        Figure(
            name="status reads per CPU second of the API",
            value=middle["per_cpu"],
            unit="/s",
            goal="P10",
            at_least=3000.0,
            judged=judged,
        ),
        Figure(
            name="99th percentile while a job runs",
            value=middle["p99_ms"],
            unit="ms",
            goal="P10",
            at_most=20.0,
            judged=judged,
        ),
        Figure(name="median while a job runs", value=middle["median_ms"], unit="ms"),
        Figure(name="reads per second", value=middle["per_second"], unit="/s"),
    ]


def _load(bench: Bench, service: Service, job: str, seconds: float) -> dict[str, float]:
    """Read one job's status from a few connections at once, in a process of its own."""
    before = cpu_by_kind(service)["api"]
    command = [
        sys.executable,
        "-m",
        "benchmarks.reads",
        json.dumps([service.url, f"/api/v1/jobs/{job}", seconds, os.getpid()]),
    ]
    with bench.span() as taken:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    api = cpu_by_kind(service)["api"] - before
    times = sorted(json.loads(done.stdout))
    return {
        "reads": len(times),
        "per_cpu": len(times) / api,
        "per_second": len(times) / seconds,
        "api_cpu": round(api, 3),
        "median_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[int(len(times) * 0.99)],
        "wall": round(taken.wall, 3),
    }


def main() -> None:
    url, path, seconds, parent = json.loads(sys.argv[1])
    die_with(parent)
    host, _, port = url.removeprefix("http://").partition(":")
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    found: list[float] = []
    readers = [
        threading.Thread(target=_read, args=((host, int(port)), request, time.monotonic() + seconds, found))
        for _ in range(CLIENTS)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    print(json.dumps([round(value, 6) for value in found]))


def _read(address: tuple[str, int], request: bytes, end: float, found: list[float]) -> None:
    """Request after request on one connection."""
    with socket.create_connection(address, timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (start := time.monotonic()) < end:
            sock.sendall(request)
            data = b""
            while (head := data.find(b"\r\n\r\n")) < 0:
                data += sock.recv(65536)
            lower = data[:head].lower()
            assert lower.startswith(b"http/1.1 200"), data[:200]
            length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
            while len(data) < head + 4 + length:
                data += sock.recv(65536)
            found.append(time.monotonic() - start)


if __name__ == "__main__":
    main()
