"""The project's own matrix kernels: compiled by the compiler and against the headers that the engine is built with."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from platformdirs import user_cache_path

from core.errors import EngineUnavailable
from whisper.workshop import build
from whisper.workshop.kernels import ATTENTION, KERNELS, PRODUCTS, SOURCES, add_kernels

HERE = Path(__file__).parent
NEEDED = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "f16c"}


@pytest.fixture(scope="module")
def tools() -> Path:
    """Compiler and sources, kept in the user's cache folder."""
    here = f"{build.SOURCE_SHA256} {sys.version} {sys.base_prefix} {platform.platform()}"
    pins = hashlib.sha256(build.TOOLS.read_bytes() + here.encode()).hexdigest()[:12]
    folder = user_cache_path("parascribe", ensure_exists=True) / f"engine-sources-{pins}"
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build.fetch_source(folder, build.install_tools(folder))
            (folder / "complete").touch()
    return folder


@pytest.fixture
def source(tools: Path) -> Path:
    (found,) = tools.glob("*/whisper.cpp")
    return found


def run(tools: Path, *command: str) -> None:
    done = subprocess.run(
        [str(tools / "tools" / "bin" / "python"), "-m", "ziglang", *command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(tools / "zig"), "ZIG_LOCAL_CACHE_DIR": str(tools / "zig")},
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.timeout(600)
def test_kernels_compute_what_they_should(tools: Path, source: Path, tmp_path: Path) -> None:
    """On a CPU that has the instructions; elsewhere the compiler must see nothing of it."""
    ggml = source / "ggml"
    includes = [f"-I{folder}" for folder in (SOURCES, ggml / "include", ggml / "src", ggml / "src" / "ggml-cpu")]
    run(
        tools,
        "c++",
        "-std=c++17",
        "-O2",
        "-mcpu=native",
        "-fno-exceptions",
        *includes,
        "-c",
        str(HERE / "kernel_check.cpp"),
        "-o",
        str(tmp_path / "check.o"),
    )
    run(tools, "cc", str(tmp_path / "check.o"), "-lm", "-o", str(tmp_path / "check"))
    done = subprocess.run([str(tmp_path / "check")], capture_output=True, text=True, check=False, timeout=60)
    has = platform.machine() == "x86_64" and set(Path("/proc/cpuinfo").read_text().split()) >= NEEDED
    assert done.stdout.splitlines()[-1] == ("ok" if has else "absent"), done.stdout + done.stderr


def test_kernels_find_their_places_in_the_pinned_sources(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ggml" / "src" / "ggml-cpu"
    shutil.copytree(source / "ggml" / "src" / "ggml-cpu", folder)
    add_kernels(tmp_path)
    for name in KERNELS:
        assert (folder / name).read_bytes() == (SOURCES / name).read_bytes()
    products, attention = (folder / "repack.cpp").read_text(), (folder / "ops.cpp").read_text()
    assert products.index(PRODUCTS) < products.index("class tensor_traits_base") < products.index("return &q8_0_x16;")
    assert (
        attention.index(ATTENTION) < attention.index("attention_64::attend(") < attention.index("attention_64::turn(")
    )
    with pytest.raises(EngineUnavailable, match="repack"):
        (folder / "repack.cpp").write_text("another version")
        add_kernels(tmp_path)
