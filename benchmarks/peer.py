"""The baseline: libwhisper as everybody uses it, in processes of its own, each with its own copy of the model.

serial: one process, one pass over the whole file with all cores as threads.
spawn: one process per span of the file, so many at once; each loads the library and the model, decodes, ends.
hold: so many processes, each decodes its span and then stays until stdin closes (for measuring memory).

The children are forked from a small parent that has loaded nothing, which spares them the start of an
interpreter: cheaper than a real `whisper-cli` per chunk. No splitting of files is charged either.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from whisper.library.libwhisper import BEAM_SEARCH, GREEDY, LibWhisper
from whisper.wire.process import die_with, engine_environment, python_command


def run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a job in processes and return its answer: {"wall", "texts", "load", "decode"}.

    job: mode, library (directory), model, pcm (numpy int16), spans [[start, end]] in samples, processes, threads,
    beam (0 = greedy), language
    """
    with start(job, folder) as process:
        out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the peer ended with status {process.returncode}")
    return dict(json.loads(out))


@contextmanager
def start(job: dict[str, Any], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The peer as a running process; in mode `hold` it prints a line when all of its children have decoded."""
    audio = folder / f"peer-{time.monotonic_ns()}.f32"
    (job["pcm"].astype("float32") / 32768).astype("<f4").tofile(audio)
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in job.items() if name != "pcm"}
    command = python_command("benchmarks.peer", json.dumps(plain | {"audio": str(audio), "parent": os.getpid()}))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=engine_environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        audio.unlink()


def main() -> None:
    job = json.loads(sys.argv[1])
    die_with(job["parent"])
    audio = Path(job["audio"]).read_bytes()
    spans = job.get("spans") or [[0, len(audio) // 4]]
    began = time.monotonic()
    if job["mode"] == "hold":
        _hold(job, audio, spans)
        return
    answers = list(_spawn(job, audio, spans))
    answers.sort(key=lambda answer: answer["span"])
    print(
        json.dumps(
            {
                "wall": time.monotonic() - began,
                "texts": [answer["text"] for answer in answers],
                "load": [answer["load"] for answer in answers],
                "decode": [answer["decode"] for answer in answers],
            }
        )
    )


def _spawn(job: dict[str, Any], audio: bytes, spans: list[list[int]]) -> Iterator[dict[str, Any]]:
    """A forked process per span, `processes` at a time."""
    waiting = list(enumerate(spans))
    running: dict[int, tuple[int, int]] = {}
    while waiting or running:
        while waiting and len(running) < job["processes"]:
            number, (start, end) = waiting.pop(0)
            pid, pipe = _fork(partial(_decode, job, audio[4 * start : 4 * end]))
            running[pid] = (number, pipe)
        pid, status = os.wait()
        number, pipe = running.pop(pid)
        with os.fdopen(pipe) as answer:
            if status:
                sys.exit(f"a process of the peer ended with status {status}")
            yield {"span": number, **json.load(answer)}


def _hold(job: dict[str, Any], audio: bytes, spans: list[list[int]]) -> None:
    def work(start: int, end: int) -> dict[str, Any]:
        answer = _decode(job, audio[4 * start : 4 * end], keep=True)
        os.write(done, b".")
        sys.stdin.buffer.read()
        return answer

    ready, done = os.pipe()
    for start, end in spans:
        _fork(partial(work, start, end))
    for _ in spans:
        os.read(ready, 1)
    print("ready", flush=True)
    sys.stdin.buffer.read()
    for _ in spans:
        os.wait()


def _fork(work: Callable[[], dict[str, Any]]) -> tuple[int, int]:
    """(pid, descriptor its answer is read from). An answer fits into a pipe: a whole hour's text has 60 kB."""
    read, write = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    try:
        die_with(parent)
        os.write(write, json.dumps(work()).encode())
    except BaseException as error:
        print(f"peer: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


_KEPT: list[Any] = []


def _decode(job: dict[str, Any], audio: bytes, *, keep: bool = False) -> dict[str, Any]:
    began = time.monotonic()
    lib = LibWhisper(Path(job["library"]))
    context = lib.load_model(Path(job["model"]))
    loaded = time.monotonic()
    state = lib.f.init_state(context)
    samples = (ctypes.c_float * max(16_000, len(audio) // 4))()
    ctypes.memmove(samples, audio, len(audio))
    if lib.f.full_with_state(context, state, _params(lib, job), samples, len(samples)):
        raise RuntimeError("libwhisper could not decode")
    text = _text(lib, context, state)
    if keep:
        _KEPT.append((lib, samples))
    return {"text": text, "load": loaded - began, "decode": time.monotonic() - loaded}


def _params(lib: LibWhisper, job: dict[str, Any]) -> Any:
    """The same decoding options as ours, but for single_segment: a pass over a file must go on after 30 s."""
    beam = job.get("beam", 0)
    params = lib.f.full_default_params(BEAM_SEARCH if beam else GREEDY)
    if beam:  # what whisper-cli does when told nothing
        params.beam_size = params.best_of = beam
    else:
        params.best_of, params.temperature_inc = 2, 0.4
    params.n_threads = job["threads"]
    params.language = job.get("language", "en").encode()
    params.no_context, params.n_max_text_ctx = True, 0
    params.suppress_nst = True
    params.print_progress = params.print_realtime = params.print_timestamps = params.print_special = False
    return params


def _text(lib: LibWhisper, context: int, state: int) -> str:
    f, found = lib.f, []
    eot = f.token_eot(context)
    for segment in range(f.full_n_segments_from_state(state)):
        for position in range(f.full_n_tokens_from_state(state, segment)):
            token = f.full_get_token_data_from_state(state, segment, position).id
            if token < eot:
                found.append(f.token_to_str(context, token) or b"")
    return b"".join(found).decode("utf-8", "replace").strip()
