"""Whole jobs against CTranslate2 int8, the engine of faster-whisper, on the same weights and the same cuts (P7).

The comparison favours the peer: it is given samples and windows, so it neither decodes a file nor looks for speech, and
its best split of the cores and batch size are searched for. Its features are its own, and charged, as in faster-whisper.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import platformdirs

from benchmarks.ct2_peer import FIRST_LANGUAGE, batches
from benchmarks.ct2_setup import SCRIPT, Twin, interpreter, twin
from benchmarks.harness import Bench, Pcm, ratio
from benchmarks.job import timed, warm_up
from benchmarks.meter import PssSampler, Span, tree
from benchmarks.peers import service_memory
from benchmarks.plot import Plot
from benchmarks.report import Figure
from benchmarks.score import words_said
from benchmarks.words import align
from core.jobs.tasks import TRANSCRIBE
from core.speech.chunks import Chunk
from core.store.database import open_database
from core.store.sql import SqlStore
from testbed.service import Service

BATCHES = (1, 4, 8, 16)
KINDS = ("q8_0", "q4_K")
AT_MOST = {"base": (1.0, 0.9), "small": (1.25, 0.9)}
"""P7, of its wall: ours with q8_0, and with the best quantisation."""

MEMORY_AT_MOST = 0.5


@dataclass(frozen=True, kw_only=True)
class Setting:
    """inter workers of intra threads each, so many windows at a time."""

    inter: int
    intra: int
    batch: int


@dataclass(kw_only=True)
class Peer:
    """CTranslate2 on one file: `audio` holds the windows' samples one after the other."""

    bench: Bench
    python: Path
    twin: Twin
    audio: Path
    windows: list[tuple[int, int]]

    def timed(self, setting: Setting) -> tuple[Span, list[str]]:
        """What the windows take, the model being loaded, and their texts."""
        with self._running(setting, self.windows) as process:
            with self.bench.span() as taken:
                answer = _go(process)
            return taken, [self.twin.text(tokens) for tokens in json.loads(answer)["tokens"]]

    def memory(self, setting: Setting) -> float:
        """Peak PSS in MiB while it works, in a run of its own: sampling costs time."""
        size = max(len(batch) for batch in batches(self.windows, setting.batch, setting.inter))
        some = self.windows[: 2 * size * setting.inter]
        with self._running(setting, some) as process, PssSampler(lambda: tree(process.pid), every=0.1) as sampler:
            _go(process)
        return sampler.peak

    @contextmanager
    def _running(self, setting: Setting, windows: list[tuple[int, int]]) -> Iterator[subprocess.Popen[bytes]]:
        job = {
            "model": str(self.twin.folder),
            "filters": str(self.twin.filters),
            "audio": str(self.audio),
            "windows": windows,
            "language": FIRST_LANGUAGE,
            "parent": os.getpid(),
            **asdict(setting),
        }
        env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        process = subprocess.Popen(
            [self.python, "-I", SCRIPT, "run", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env | {"OPENBLAS_NUM_THREADS": "1"},  # numpy's threads would take the cores from CTranslate2's
        )
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError(f"CTranslate2 did not get ready: status {process.wait()}")
            yield process
        finally:
            process.kill()
            process.communicate()


def _go(process: subprocess.Popen[bytes]) -> bytes:
    """Have it begin; its answer, once it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"CTranslate2 ended with status {process.wait()}")
    return answer


def run(bench: Bench) -> None:
    pcm, _ = bench.speech(bench.pick(smoke=0.6, bench=10.0, full=10.0))
    python = interpreter(platformdirs.user_cache_path("parascribe") / "benchmarks" / "ct2")
    source = bench.wav(pcm, "talk")
    for size in bench.pick(smoke=("base",), bench=("base",), full=("base", "small")):
        peer = _peer(bench, python, size, pcm, source)
        setting = _search(bench, peer, size)
        walls = {
            kind: _against(bench, peer, setting, size, kind, source) for kind in KINDS[: 1 if bench.smoke else None]
        }
        bench.result.figures.append(
            Figure(
                name=f"÷ CTranslate2 int8, {size}, best quantisation",
                value=min(walls.values()),
                goal="P7",
                at_most=AT_MOST[size][1],
                judged=_judged(bench),
            )
        )
        bench.result.plots.append(
            Plot(
                name=size,
                title=f"Wall against CTranslate2 int8, {size}",
                y="ratio",
                series={"wall": [(float(n), wall) for n, wall in enumerate([1.0, *walls.values()])]},
                labels=("CTranslate2", *walls),
            )
        )


def _judged(bench: Bench) -> bool:
    return not bench.smoke and bench.libraries()[0].kind == "own"


def _against(bench: Bench, peer: Peer, setting: Setting, size: str, kind: str, source: Path) -> float:
    """One quantisation of ours against the peer at its best, in turn; the ratio of the walls."""
    texts: dict[str, str] = {}
    with bench.service(bench.libraries()[0], bench.model(size, kind)) as service:
        warm_up(bench, service)

        def ours() -> Span:
            taken, job = timed(bench, service, source)
            texts["ours"] = " ".join(segment["text"] for segment in service.result(job["id"]).json()["segments"])
            return taken

        def theirs() -> Span:
            taken, parts = peer.timed(setting)
            texts["theirs"] = " ".join(parts)
            return taken

        mine, other = bench.repeat({f"{size} {kind}: job": ours, f"{size}: CTranslate2": theirs}).values()
        bench.say(f"{size} {kind}: memory")
        memory = service_memory(bench, service, source)
    wall, their_memory = ratio(mine, other), peer.memory(setting)
    recommended = kind == KINDS[0]
    bench.result.figures += [
        Figure(
            name=f"÷ CTranslate2 int8, {size} {kind}",
            value=wall,
            goal="P7" if recommended else "",
            at_most=AT_MOST[size][0] if recommended else None,
            judged=_judged(bench),
        ),
        Figure(
            name=f"memory ÷ CTranslate2 int8, {size} {kind}",
            value=memory / their_memory,
            goal="P7",
            at_most=MEMORY_AT_MOST,
            judged=_judged(bench),
        ),
        Figure(
            name=f"WER between the two, {size} {kind}", value=100 * different(texts["ours"], texts["theirs"]), unit="%"
        ),
    ]
    bench.result.details[f"{size} {kind}"] = {
        "ours": [taken.to_dict() for taken in mine],
        "theirs": [taken.to_dict() for taken in other],
        "ours_mib": round(memory, 1),
        "theirs_mib": round(their_memory, 1),
        "setting": asdict(setting),
    }
    return wall


def _peer(bench: Bench, python: Path, size: str, pcm: Pcm, source: Path) -> Peer:
    """The peer on the windows that a job of ours made of the file."""
    model = twin(bench.model(size, "f16"), python)
    bench.say(f"{size}: the windows of a job")
    with bench.service(bench.libraries()[0], bench.model(size, KINDS[0])) as service:
        job = timed(bench, service, source)[1]["id"]
        windows = _windows(service, job, pcm)
    audio = bench.folder / "windows.s16"
    np.concatenate(windows).astype(np.int16).tofile(audio)
    ends = np.cumsum([len(window) for window in windows]).tolist()
    spans = [(end - len(window), end) for end, window in zip(ends, windows, strict=True)]
    return Peer(bench=bench, python=python, twin=model, audio=audio, windows=spans)


def _windows(service: Service, job: str, pcm: Pcm) -> list[Pcm]:
    """The samples of each chunk that the job planned, its regions spliced as the engine heard them."""
    store = SqlStore(open_database(f"sqlite:///{Path(service.env['DATA_DIR']) / 'parascribe.db'}"))
    try:
        chunks = [Chunk.from_dict(row.plan or {}) for row in store.tasks(job, TRANSCRIBE)]
    finally:
        store.close()
    return [
        np.concatenate([pcm[region.start : region.end] for region in chunk.regions])
        for chunk in chunks
        if chunk.regions
    ]


def _search(bench: Bench, peer: Peer, size: str) -> Setting:
    """Its fastest setting; those that come down to the same batches are tried once."""
    found: dict[tuple[int, int], tuple[float, Setting]] = {}
    for inter in (n for n in range(1, bench.cores + 1) if bench.cores % n == 0):
        for batch in BATCHES if not bench.smoke else BATCHES[:2]:
            setting = Setting(inter=inter, intra=bench.cores // inter, batch=batch)
            same = (inter, len(batches(peer.windows, batch, inter)))
            if same not in found:
                taken, _ = peer.timed(setting)
                found[same] = (taken.alone, setting)
                bench.say(
                    f"{size}: CTranslate2, {inter} x {setting.intra} threads, batches of {batch}: {taken.alone:.1f} s"
                )
    bench.result.details[f"{size}: search"] = [
        asdict(setting) | {"wall": round(wall, 2)} for wall, setting in found.values()
    ]
    return min(found.values(), key=lambda one: one[0])[1]


def different(ours: str, theirs: str) -> float:
    """Share of our words that the other text has not, has besides or has otherwise."""
    (mine, _), (other, _) = (words_said([{"start": None, "text": text}]) for text in (ours, theirs))
    pairs, deleted, inserted = align(mine, other)
    return (sum(mine[i] != other[j] for i, j in pairs) + deleted + inserted) / max(1, len(mine))
