"""The self-test: which library is chosen, and what is remembered of those that were not."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pytest

from core.errors import EngineUnavailable, ModelInvalid
from tests.whisper.engine_parts import MODEL, WHEEL
from whisper.library.libraries import Library
from whisper.library.selftest import choose_library

# stands in for the self-test of a library whose code the CPU does not know
DIES = [sys.executable, "-c", "import os, sys; os.kill(os.getpid(), int(open(sys.argv[2] + '/signal').read()))"]
ENDS_WELL = [sys.executable, "-c", ""]
ENDS_BADLY = [sys.executable, "-c", "raise SystemExit('not to be run')"]


def library(folder: Path, name: str, *, signal: int | None = None) -> Library:
    directory = folder / name
    directory.mkdir()
    (directory / "libwhisper.so.1").write_bytes(b"not a library")
    if signal is not None:
        (directory / "signal").write_text(str(signal))
    return Library(kind="operator", directory=directory, version="")


def test_the_wheel_works_and_that_is_remembered(tmp_path: Path) -> None:
    assert choose_library([WHEEL], MODEL, tmp_path) == WHEEL
    assert choose_library([WHEEL], MODEL, tmp_path, command=ENDS_BADLY) == WHEEL
    other = tmp_path / "ggml-other.bin"
    other.write_bytes(MODEL.read_bytes() + b" ")
    with pytest.raises(EngineUnavailable, match="not to be run"):  # another model is another question
        choose_library([WHEEL], other, tmp_path, command=ENDS_BADLY)


def test_a_library_that_cannot_be_loaded_makes_way_for_the_next(tmp_path: Path) -> None:
    broken = library(tmp_path, "broken")
    assert choose_library([broken, WHEEL], MODEL, tmp_path / "engine") == WHEEL
    with pytest.raises(EngineUnavailable, match=r"operator \(.*broken\).*cannot be loaded"):
        choose_library([broken], MODEL, tmp_path / "engine")


def test_an_illegal_instruction_makes_way_and_is_remembered(tmp_path: Path) -> None:
    alien, fine = library(tmp_path, "alien", signal=4), library(tmp_path, "fine")
    with pytest.raises(EngineUnavailable, match="SIGILL: built for another CPU"):
        choose_library([alien], MODEL, tmp_path / "engine", command=DIES)
    assert choose_library([alien, fine], MODEL, tmp_path / "engine", command=ENDS_WELL) == fine
    (alien.directory / "libwhisper.so.1").write_bytes(b"a new build")
    assert choose_library([alien, fine], MODEL, tmp_path / "engine", command=ENDS_WELL) == alien


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT], ids=lambda number: number.name)
def test_a_death_that_may_have_other_reasons_is_not_held_against_a_library(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Somebody's kill, or a lack of memory."""
    killed = library(tmp_path, "killed", signal=number)
    with pytest.raises(EngineUnavailable, match=number.name):
        choose_library([killed], MODEL, tmp_path / "engine", command=DIES)
    assert choose_library([killed], MODEL, tmp_path / "engine", command=ENDS_WELL) == killed


def test_a_fresh_success_takes_the_place_of_an_old_verdict(tmp_path: Path) -> None:
    alien = library(tmp_path, "alien", signal=4)
    with pytest.raises(EngineUnavailable, match="SIGILL"):
        choose_library([alien], MODEL, tmp_path / "engine", command=DIES)
    assert choose_library([alien], MODEL, tmp_path / "engine", command=ENDS_WELL, fresh=True) == alien
    assert choose_library([alien], MODEL, tmp_path / "engine", command=ENDS_BADLY) == alien


def test_a_broken_model_is_not_blamed_on_the_library(tmp_path: Path) -> None:
    broken = tmp_path / "ggml-broken.bin"
    broken.write_bytes(MODEL.read_bytes()[:50_000])
    with pytest.raises(ModelInvalid, match="cannot read the model"):
        choose_library([WHEEL], broken, None)
    with pytest.raises(ModelInvalid, match="is no file"):
        choose_library([WHEEL], tmp_path / "ggml-missing.bin", tmp_path)


def test_no_library_at_all() -> None:
    with pytest.raises(EngineUnavailable, match="none found"):
        choose_library([], MODEL, None)


def test_verdicts_that_cannot_be_kept_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "selftest").write_text("in the way")
    fine = library(tmp_path, "fine")
    assert choose_library([fine], MODEL, tmp_path, command=ENDS_WELL) == fine
    shutil.rmtree(fine.directory)
