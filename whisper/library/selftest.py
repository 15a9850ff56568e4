"""Does this library run this model on this CPU? Found out in a child process, since the answer may be SIGILL.

(gcc 12 builds with AMX die with q8_0 and k-quants but not with f16: hence the actual model, not a small one.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import platform
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from core.audio.samples import SAMPLE_RATE
from core.errors import EngineUnavailable, ModelInvalid
from whisper.library.inference import Inference, Samples
from whisper.library.libraries import Library
from whisper.library.libwhisper import LibraryUnusable, LibWhisper
from whisper.models.ggml import read_header
from whisper.wire.process import die_with, engine_environment, no_core_dumps, python_command

log = logging.getLogger(__name__)

TIMEOUT = 600.0
_BAD_LIBRARY, _BAD_MODEL = 3, 4
_FINGERPRINT_BYTES = 1 << 20
_LASTING_SIGNALS = frozenset({signal.SIGILL, signal.SIGFPE})
"""Deaths worth remembering: they come from the code. SIGSEGV and SIGABRT may be a lack of memory, SIGKILL anybody's."""


def choose_library(
    candidates: Sequence[Library],
    model_path: Path,
    engine_dir: Path | None,
    *,
    fresh: bool = False,
    command: Sequence[str] | None = None,
    timeout: float = TIMEOUT,
) -> Library:
    """The first candidate that decodes a second of noise with the model.

    engine_dir: verdicts are kept in its `selftest` folder, by library files, model and CPU; None = not kept
    fresh: test anew whatever is kept; the new verdicts take the old ones' place
    command: run instead of our own self-test, with `--library DIR --model FILE --parent PID` appended

    Raises EngineUnavailable when none works, with each one's reason; ModelInvalid when libraries load but refuse the model.
    """
    read_header(model_path)  # libwhisper aborts on other ggml files
    reasons, bad_model = [], False
    for library in candidates:
        verdict = _verdict_path(library, model_path, engine_dir)
        reason = None if fresh else _recall(verdict)
        if reason is None:
            status, reason = _run(library, model_path, command or python_command(__name__), timeout)
            bad_model |= status == _BAD_MODEL
            if status == 0 or -status in _LASTING_SIGNALS:
                _remember(verdict, reason)
        if not reason:
            return library
        log.warning("%s library in %s cannot be used: %s", library.kind, library.directory, reason)
        reasons.append(f"{library.kind} ({library.directory}): {reason}")
    if bad_model:
        raise ModelInvalid(f"{model_path.name} cannot be used: {'; '.join(reasons)}")
    raise EngineUnavailable(f"No usable libwhisper: {'; '.join(reasons) or 'none found'}")


def _run(library: Library, model: Path, command: Sequence[str], timeout: float) -> tuple[int, str]:
    """(exit status, why it failed or an empty text)."""
    arguments = ["--library", str(library.directory), "--model", str(model), "--parent", str(os.getpid())]
    try:
        done = subprocess.run(
            [*command, *arguments],
            env=engine_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"the self-test was not done after {timeout:.0f} s"
    if done.returncode == 0:
        return 0, ""
    if done.returncode < 0:
        number = -done.returncode
        name = signal.Signals(number).name
        hint = (
            ": built for another CPU, or by a compiler that is broken for this one" if number == signal.SIGILL else ""
        )
        return done.returncode, f"the self-test was killed by {name}{hint}"
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return done.returncode, said[-1] if said else f"the self-test ended with status {done.returncode}"


def _verdict_path(library: Library, model: Path, engine_dir: Path | None) -> Path | None:
    if engine_dir is None:
        return None
    parts = [f"{library.directory}", _cpu(), _model_identity(model)]
    for path in sorted(library.directory.glob("lib*")):
        if path.name.startswith(("libwhisper", "libggml")) and path.is_file():
            stat = path.stat()
            parts.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns}")
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    return engine_dir / "selftest" / f"{name}.json"


def _model_identity(model: Path) -> str:
    """Size and first MiB: the header names architecture and quantisation, which is what matters here."""
    with model.open("rb") as file:
        return f"{hashlib.sha256(file.read(_FINGERPRINT_BYTES)).hexdigest()} {model.stat().st_size}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    telling = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(telling)}))


def _recall(verdict: Path | None) -> str | None:
    """Empty = works; a text = why not; None = not known."""
    if verdict is None:
        return None
    try:
        return str(json.loads(verdict.read_text())["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(verdict: Path | None, reason: str) -> None:
    if verdict is None:
        return
    temporary = verdict.with_suffix(f".{os.getpid()}")
    try:
        verdict.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"reason": reason}))
        os.replace(temporary, verdict)
    except OSError as error:
        log.debug("self-test verdict not kept: %s", error)


def main() -> None:
    """The child: load, decode a second of noise. Exit status 3 = library, 4 = model, else a crash."""
    parser = argparse.ArgumentParser(prog="whisper.library.selftest", description="Decode a second of noise.")
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    die_with(options.parent)
    no_core_dumps()
    try:
        lib = LibWhisper(options.library)
    except LibraryUnusable as error:
        print(error, file=sys.stderr)
        sys.exit(_BAD_LIBRARY)
    try:
        context = lib.load_model(options.model)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(_BAD_MODEL)
    samples, noise = Samples(SAMPLE_RATE), random.Random(1)
    for i in range(samples.n):
        samples.floats[i] = noise.gauss(0.0, 0.05)
    Inference(lib, context, threads=1).transcribe(samples, {"language": "en"})


if __name__ == "__main__":
    main()
