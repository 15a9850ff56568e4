"""Memory of a consumer with four busy workers, by model size, against four engine processes of their own (P4)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks import peer, watch
from benchmarks.harness import Bench
from benchmarks.job import warm_up
from benchmarks.meter import PssSampler, pss, tree
from benchmarks.plot import Plot
from benchmarks.report import Figure
from testbed.service import Service
from whisper.library.libraries import Library

WORKERS = 4


def run(bench: Bench) -> None:
    library = bench.libraries()[0]
    sizes = bench.pick(smoke=("demo",), bench=("base", "small"), full=("base", "small", "medium"))
    bars: dict[str, list[tuple[float, float]]] = {"Parascribe": [], "4 processes": []}
    for number, size in enumerate(sizes):
        model = bench.model(size, "f16")
        bench.say(f"{size}: the service")
        ours = _ours(bench, library, model)
        bench.say(f"{size}: {WORKERS} separate processes")
        theirs = _theirs(bench, library, model)
        medium = size == "medium"
        bench.result.figures += [
            Figure(
                name=f"{size} f16, consumer",
                value=ours["consumer"],
                unit="MiB",
                goal="P4" if medium else "",
                at_most=2850 if medium else None,
            ),
            Figure(name=f"{size} f16, {WORKERS} processes", value=theirs, unit="MiB"),
            Figure(
                name=f"{size} f16, ratio",
                value=ours["consumer"] / theirs,
                goal="P4" if medium else "",
                at_most=0.45 if medium else None,
            ),
        ]
        bench.result.details[size] = ours | {"peer": round(theirs, 1)}
        bars["Parascribe"].append((number, ours["consumer"]))
        bars["4 processes"].append((number, theirs))
    bench.result.plots.append(
        Plot(name="sizes", title="Memory with 4 busy workers", y="MiB", series=bars, labels=tuple(sizes))
    )


def _ours(bench: Bench, library: Library, model: Path) -> dict[str, Any]:
    """Peak while four workers decode; `consumer` is all but the API."""
    pcm, _ = bench.speech(bench.pick(smoke=0.1, bench=5.0, full=6.0))
    source = bench.wav(pcm, "talk")
    with bench.service(library, model, MAX_PARALLEL_WORKERS=str(WORKERS), WHISPER_THREADS="1") as service:
        warm_up(bench, service)
        idle = _kinds(service)
        with PssSampler(lambda: _consumer(service), every=0.3) as sampler:
            job = service.submit(source, language="en")
            # every worker has been through one chunk and is in its second: it will not grow any more
            watch.wait(service, job["id"], lambda body: body["progress"]["chunks_done"] > WORKERS)
            busy = _kinds(service)
        watch.cancel(service, job["id"])
    return {"consumer": round(sampler.peak, 1), "idle": idle, "busy": busy, "api": busy.get("api", 0.0)}


def _consumer(service: Service) -> list[int]:
    assert service.process is not None
    return [pid for pid in tree(service.process.pid) if "api" not in _title(pid)]


def _kinds(service: Service) -> dict[str, float]:
    """PSS in MiB by process title."""
    assert service.process is not None
    found: dict[str, float] = {}
    for pid in tree(service.process.pid):
        title = _title(pid)
        found[title] = round(found.get(title, 0.0) + pss([pid]), 1)
    return found


def _title(pid: int) -> str:
    """What kind of process it is, from its command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return "gone"
    marks = {
        "api_main": "api",
        "whisper.host.manager": "engine manager",
        "whisper.host.main": "engine host",
        "ffmpeg": "ffmpeg",
        "parascribe serve": "supervisor",
        "consumer_main": "consumer",
    }
    return next(
        (name for mark, name in marks.items() if mark in words), words.split(" [")[0].split(" chunk")[0].strip()[:40]
    )


def _theirs(bench: Bench, library: Library, model: Path) -> float:
    """Four processes that have each loaded the model and decoded a chunk."""
    pcm, _ = bench.speech(0.25 if bench.smoke else WORKERS * 28 / 60)
    size = len(pcm) // WORKERS
    spans = [[n * size, (n + 1) * size] for n in range(WORKERS)]
    job = {
        "mode": "hold",
        "library": library.directory,
        "model": model,
        "pcm": pcm,
        "spans": spans,
        "processes": WORKERS,
        "threads": 1,
    }
    with peer.start(job, bench.folder) as process, PssSampler(lambda: tree(process.pid), every=0.3) as sampler:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == b"ready\n", "the peer did not get ready"
        time.sleep(0.5)
    return sampler.peak
