"""Quantised copies of models, made with the wheel's libggml."""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import DiskFull, EngineUnavailable, ModelInvalid, ModelUnavailable, ValidationFailed
from testbed.audio_bank import speech
from tests.whisper.engine_parts import MODEL, QUICK, ROOT, WHEEL
from whisper.library.inference import Inference, Samples
from whisper.library.libwhisper import LibWhisper
from whisper.models.ggml import GgmlReader, packed_filters, packed_tensor, packed_vocabulary, read_header
from whisper.models.store import ModelStore
from whisper.workshop import inflate
from whisper.workshop.quantize import KINDS, own_stem, quantize

QUANTISED = ROOT / "tests/data/ggml-demo-q8_0.bin"


def made(folder: Path, kind: str, source: Path = MODEL, **options: Any) -> Path:
    target = folder / f"ggml-{own_stem('demo', kind)}.bin"
    quantize(source, target, kind, library=WHEEL.directory, **options)
    return target


@cache
def heard(model: Path) -> str:
    """What it makes of nine seconds."""
    lib, pcm = LibWhisper(WHEEL.directory), speech(0.15, seed=5)[0]
    samples, context = Samples(len(pcm)), lib.load_model(model)
    ctypes.memmove(samples.floats, (pcm / np.float32(32768)).astype(np.float32).tobytes(), 4 * len(pcm))
    said = Inference(lib, context, threads=1).transcribe(samples, QUICK)
    return " ".join(segment["text"] for segment in said["segments"])


def test_q8_0_is_what_whisper_cpp_makes_of_it_and_is_found_by_its_own_name(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    copy = made(tmp_path / "models", "q8_0", progress=lambda done, total: seen.append((done, total)))
    assert copy.read_bytes() == QUANTISED.read_bytes()
    assert seen == sorted(seen) and seen[-1] == (MODEL.stat().st_size,) * 2
    store = ModelStore(tmp_path / "models", MODEL.parent)
    assert store.validate("local:demo-q8_0-own").path == copy
    assert not list(copy.parent.glob("*.part"))


@pytest.mark.parametrize("kind", ["q5_1", "q4_0"])
def test_a_quantised_model_hears_the_same(tmp_path: Path, kind: str) -> None:
    copy = made(tmp_path, kind)
    assert copy.stat().st_size < 0.45 * MODEL.stat().st_size
    assert read_header(copy).ftype == KINDS[kind].file
    assert heard(copy) == heard(MODEL) != ""


def test_k_quantisation_needs_wide_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationFailed, match=r"q4_K packs 256 .* 128 .* Use q4_0"):
        made(tmp_path, "q4_K")
    assert not list(tmp_path.glob("*.bin")), "nothing half made"
    monkeypatch.setitem(inflate.SIZES, "twice", (2, 4))  # the demo model itself has 4 layers
    inflate.inflate(MODEL, wide := tmp_path / "wide.bin", "twice")
    copy = made(tmp_path, "q4_K", wide)
    assert copy.stat().st_size < 0.35 * wide.stat().st_size
    said = [heard(model).split() for model in (wide, copy)]
    assert len(set(said[0]) & set(said[1])) > 0.8 * len(set(said[0])) > 5


def test_an_f32_model_gives_the_same_file(tmp_path: Path) -> None:
    wide = tmp_path / "f32.bin"
    with MODEL.open("rb") as old, wide.open("wb") as new:
        new.write(old.read(44) + struct.pack("<i", 0))
        old.read(4)
        reader = GgmlReader(old)
        new.write(packed_filters(*reader.filters()) + packed_vocabulary(reader.vocabulary()))
        for name, tensor in reader.tensors():
            new.write(packed_tensor(name, tensor.astype(np.float32)))
    assert made(tmp_path, "q8_0", wide).read_bytes() == QUANTISED.read_bytes()


def cut(model: bytes) -> bytes:
    return model[: len(model) // 2]


def without_weights(model: bytes) -> bytes:
    return model[: model.index(b"encoder.positional_embedding") - 20]


def with_a_wild_head(model: bytes) -> bytes:
    place = model.index(b"encoder.positional_embedding") - 20
    return model[:place] + struct.pack("<i", 77) + model[place + 4 :]


@pytest.mark.parametrize("damage", [cut, without_weights, with_a_wild_head])
def test_a_damaged_model_is_told_and_leaves_nothing(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    source = tmp_path / "x.bin"
    source.write_bytes(damage(MODEL.read_bytes()))
    with pytest.raises(ModelInvalid, match="damaged"):
        made(tmp_path / "out", "q8_0", source)
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_what_cannot_be_quantised_is_refused(tmp_path: Path) -> None:
    for source, kind, expected, words in (
        (QUANTISED, "q4_0", ValidationFailed, "quantised already"),
        (MODEL, "q9_9", ValidationFailed, "q8_0, q5_1, q5_0, q4_0, q4_K"),
        (tmp_path / "none.bin", "q8_0", ModelInvalid, "is no file, or a link to nothing"),
        (Path(__file__), "q8_0", ModelInvalid, "no ggml model"),
    ):
        with pytest.raises(expected, match=words):
            made(tmp_path, kind, source)
    with pytest.raises(EngineUnavailable, match="quantiser"):
        quantize(MODEL, tmp_path / "x.bin", "q8_0", library=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ModelUnavailable, match="cannot be made"):
        made(tmp_path / "file", "q8_0")


def test_a_full_disk_is_named_and_the_last_copy_stays(tmp_path: Path) -> None:
    copy = made(tmp_path, "q8_0")
    (tmp_path / f".{copy.name}.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=re.escape(str(copy))):
        made(tmp_path, "q8_0")
    assert copy.read_bytes() == QUANTISED.read_bytes()
    assert not list(tmp_path.glob(".*.part"))
