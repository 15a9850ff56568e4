"""A whole job through the real service: its wall against the CPU that decoding, VAD and engine need (P1)."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks import watch
from benchmarks.harness import Bench, Pcm
from benchmarks.meter import CORES, Span, process_cpu, span, tree, tree_cpu
from benchmarks.report import Figure
from core.audio import ffmpeg
from core.audio.decoder import Decoder, PcmSpool
from core.audio.samples import SAMPLE_RATE
from testbed import audio_bank
from testbed.service import Service
from whisper import VAD_MODEL
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad

BLOCK = 64 * 512


def run(bench: Bench) -> None:
    minutes = bench.pick(smoke=0.1, bench=10.0, full=30.0)
    pcm, _ = bench.speech(minutes)
    source = audio_bank.write(bench.folder / "talk.mp3", pcm, "-b:a", "96k")
    library = bench.libraries()[0]
    decode, vad = decode_cpu(bench, source), vad_cpu(pcm).own
    bench.say(f"decoding takes {decode:.2f} s of CPU, VAD {vad:.2f} s")
    with bench.service(library, bench.model("base")) as service:
        warm_up(bench, service)
        runs = bench.repeat({"job": lambda: timed(bench, service, source)})["job"]
    ratios, overheads, details = [], [], []
    for taken, job in runs:
        performance = job["performance"]
        needed = performance["engine_seconds"] + decode + vad
        wall = performance["wall"] * taken.alone / taken.wall
        ratios.append(wall * bench.cores / needed)
        overheads.append(taken.own / needed)
        details.append(taken.to_dict() | performance | {"needed_cpu": round(needed, 3)} | job["cpu"])
    bench.result.figures += [
        Figure(
            name="wall ÷ (needed CPU ÷ cores)",
            value=statistics.median(ratios),
            goal="P1",
            at_most=1.03,
            judged=not bench.smoke,
        ),
        Figure(name="all CPU ÷ needed CPU", value=statistics.median(overheads)),
        Figure(name="real-time factor", value=statistics.median(d["wall"] / (60 * minutes) for d in details)),
    ]
    bench.result.details = {
        "minutes": minutes,
        "library": library.kind,
        "decode_cpu": decode,
        "vad_cpu": vad,
        "runs": details,
    }


def warm_up(bench: Bench, service: Service) -> None:
    """Have the model loaded and every worker touch its pages."""
    short = bench.wav(bench.speech(0.1)[0], "short")
    watch.transcribe_all(service, [short] * bench.cores, language="en")


def timed(
    bench: Bench, service: Service, source: Path, *, width: int = CORES, seconds: float = 7200.0, **options: Any
) -> tuple[Span, dict[str, Any]]:
    """Submit a file and wait: the span from before the upload to the end, and the job with the CPU of each kind of process.

    A status read costs the API milliseconds of CPU, so there are few; the time between the job's end and the read
    that saw it is not charged. options: of the job
    """
    before = cpu_by_kind(service)
    with bench.span(width) as taken:
        job = watch.completed(
            service,
            service.submit(source, language="en", **options)["id"],
            every=0.3 if bench.smoke else 2.0,
            seconds=seconds,
        )
        late = watch.late(job)
    taken.wall -= late
    after = cpu_by_kind(service)
    return taken, job | {"cpu": {kind: round(after[kind] - before.get(kind, 0.0), 3) for kind in after}}


def cpu_by_kind(service: Service) -> dict[str, float]:
    """CPU seconds so far: of the API, the engine's processes, the consumer's (ffmpeg included) and the supervisor."""
    assert service.process is not None
    root = service.process.pid
    kinds = {
        "api": "parascribe.run.api_main",
        "engine": "whisper.host.manager",
        "consumer": "parascribe.run.consumer_main",
    }
    found = {"supervisor": process_cpu(root)}
    for pid in tree(root)[1:]:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == root:
            kind = next((kind for kind, mark in kinds.items() if mark in line or kind in line), "other")
            found[kind] = found.get(kind, 0.0) + tree_cpu(pid)
    return found


def decode_cpu(bench: Bench, source: Path) -> float:
    """CPU seconds of ffmpeg and of writing the samples, with nothing else going on."""
    with span() as taken:
        Decoder(ffmpeg.find(), max_seconds=1e6).decode(source, bench.folder / "spool")
    with PcmSpool(bench.folder / "spool") as spool:
        assert len(spool.read(0, SAMPLE_RATE)) == SAMPLE_RATE
    return taken.own


def vad_cpu(pcm: Pcm) -> Span:
    """The VAD over all of the audio, block by block."""
    vad = SileroVad(SileroModel.read(VAD_MODEL))
    with span() as taken:
        for start in range(0, len(pcm), BLOCK):
            vad.feed(pcm[start : start + BLOCK])
    return taken
