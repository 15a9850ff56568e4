"""The binding and its guard: a library that is not what we think must be refused before it is called."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.whisper.engine_parts import MODEL, WHEEL
from whisper.library.libraries import candidates
from whisper.library.libwhisper import LibraryUnusable, LibWhisper
from whisper.models.tokens import Tokenizer


def altered_wheel(folder: Path, old: bytes, new: bytes) -> Path:
    """The wheel's libwhisper with some bytes changed, beside the parts it needs."""
    data = (WHEEL.directory / "libwhisper.so.1").read_bytes()
    assert old in data
    (folder / "libwhisper.so.1").write_bytes(data.replace(old, new))
    (folder / "pywhispercpp.libs").symlink_to(WHEEL.directory / "pywhispercpp.libs")
    return folder


def test_the_wheel_is_accepted() -> None:
    assert WHEEL.version == LibWhisper(WHEEL.directory).version == "1.8.5"


def test_unknown_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryUnusable, match=r"'1\.2\.5' .* is none of .*1\.8\.5"):
        LibWhisper(altered_wheel(tmp_path, b"1.8.5\0", b"1.2.5\0"))


def test_defaults_in_the_wrong_place_are_refused(tmp_path: Path) -> None:
    folder = altered_wheel(tmp_path, struct.pack("<f", 2.4), struct.pack("<f", 2.25))
    with pytest.raises(LibraryUnusable, match=r"defaults \(2\.25"):
        LibWhisper(folder)


def test_missing_and_corrupt_libraries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryUnusable, match="no libwhisper in"):
        LibWhisper(tmp_path)
    (tmp_path / "libwhisper.so.1").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(LibraryUnusable, match="cannot be loaded"):
        LibWhisper(tmp_path)


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "ggml-broken.bin"
    broken.write_bytes(MODEL.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"cannot read the model .*ggml-broken"):
        LibWhisper(WHEEL.directory).load_model(broken)


def test_candidates_in_order(tmp_path: Path) -> None:
    assert [c.kind for c in candidates(None, tmp_path)] == ["wheel"]
    build = tmp_path / "engine/1.8.5-zig"
    build.mkdir(parents=True)
    (build / "libwhisper.so.1").touch()
    (build / "record.json").write_text('{"version": "1.8.5", "flags": "NATIVE"}')
    (tmp_path / "engine/current").symlink_to(build)
    operator = tmp_path / "operator"
    operator.mkdir()
    found = candidates(operator, tmp_path / "engine")
    assert [(c.kind, c.directory, c.version) for c in found[:2]] == [
        ("operator", operator, ""),
        ("own", build, "1.8.5"),
    ]
    assert found[2:] == [WHEEL]


def test_an_object_that_is_gone_leaves_no_call_into_nothing() -> None:
    """In a process of its own: it died of SIGSEGV, since a library keeps the log callback of the last object made of it."""
    program = (
        "import gc, sys; from pathlib import Path; from whisper.library.libwhisper import LibWhisper\n"
        "library, model = map(Path, sys.argv[1:]); first = LibWhisper(library)\n"
        "LibWhisper(library); gc.collect(); rubbish = [bytes(n) for n in range(20000)]\n"
        "first.load_model(model)"
    )
    subprocess.run([sys.executable, "-c", program, str(WHEEL.directory), str(MODEL)], check=True, capture_output=True)


def test_tokens_are_counted_as_the_library_does() -> None:
    library, counted = LibWhisper(WHEEL.directory), Tokenizer.of_model(MODEL)
    count = ctypes.CDLL(str(WHEEL.directory / "libwhisper.so.1")).whisper_token_count
    count.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    model = library.load_model(MODEL)
    for text in (
        " Anna, Zyntrix, Müller-Lüdenscheidt.",
        " 東京, 大阪市, Привет мир, नमस्ते, 😀😀",
        " don't we'll  x   y\n\tz 12345 $%&''s é \v\f\u00a0\u2028a\x85",
        " [_EOT_] <|endoftext|> " + "x" * 300,
    ):
        assert counted.count(text) == count(model, text.encode()) > 0, text
