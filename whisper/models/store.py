"""The model store: which ggml files are here, and whether they are what their names promise."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import ModelInvalid, ModelUnavailable, UnknownModel, ValidationFailed
from whisper.models.catalogue import CATALOGUE, ModelInfo
from whisper.models.ggml import ModelUnreadable, read_header

log = logging.getLogger(__name__)

LOCAL = "local:"
"""Prefix of files the operator put into the folder: `local:x` is `ggml-x.bin`, held against no checksum."""

FileKey = tuple[int, int, int]
"""(size, mtime_ns, inode): while these stay, so do the bytes."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class ValidModel:
    """A file that passed every check there is for its name. sha256 is of its bytes, pinned or not."""

    info: ModelInfo
    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """One line of `models list`.

    verified: its digest is known to be right; None = not looked at since the file last changed
    pinned: there is a published digest to hold it against
    bundled: it comes with the program
    bytes: of the file here, else of the published one
    """

    info: ModelInfo
    path: Path | None
    verified: bool | None
    pinned: bool
    bytes: int | None
    bundled: bool = False

    @property
    def installed(self) -> bool:
        return self.path is not None


class ModelStore:
    """A folder of ggml files beside the bundled ones.

    Hashing a large model takes seconds, so each file is hashed once: its digest is kept in memory and in
    `<folder>/.digests/<file>.json`, which other processes read. Both are keyed by (size, mtime_ns, inode).
    What is kept is the digest, not a verdict: the verdict follows from the catalogue each time.
    """

    def __init__(self, folder: Path, bundled: Path, *, catalogue: Mapping[str, ModelInfo] = CATALOGUE) -> None:
        self.folder = folder.absolute()  # engines run in another working directory
        self.bundled = bundled.absolute()
        self.catalogue = catalogue
        self._digests: dict[Path, tuple[FileKey, str]] = {}

    def info(self, name: str) -> ModelInfo:
        """What is known of a model. Raises UnknownModel (naming the nearest), ModelInvalid for a broken local file."""
        if name in self.catalogue:
            return self.catalogue[name]
        stem = name.removeprefix(LOCAL)
        if name.startswith(LOCAL) and _NAME.fullmatch(stem) and stem not in self.catalogue:
            path = self.folder / f"ggml-{stem}.bin"
            if os.path.lexists(path):
                multilingual = read_header(path).multilingual
                return ModelInfo(
                    name=name,
                    bytes=None,
                    sha256=None,
                    multilingual=multilingual,
                    translates=multilingual and "turbo" not in stem,
                )
            known = [LOCAL + local for local in self._local_stems()]
            hint = f" There {'is' if len(known) == 1 else 'are'}: {', '.join(known)}." if known else ""
            raise UnknownModel(f"There is no file ggml-{stem}.bin in the models' folder.{hint}", model=name)
        nearest = difflib.get_close_matches(stem, [*self.catalogue, *self._local_stems()], n=3, cutoff=0.5)
        nearest = [n if n in self.catalogue else LOCAL + n for n in nearest]
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else " See `parascribe models list`."
        raise UnknownModel(f"There is no model {name[:100]!r}.{hint}", model=name[:100])

    def path(self, name: str) -> Path | None:
        """Where the model's file lies, checked or not; None when it is not here. Raises UnknownModel."""
        info = self.info(name)
        candidates = (self.bundled / info.filename, self.folder / info.filename)
        return next((path for path in candidates if os.path.isfile(path)), None)

    def list(self) -> tuple[ModelStatus, ...]:
        """All published models and the operator's own, without hashing anything."""
        own: list[ModelInfo] = []
        for stem in self._local_stems():
            try:
                own.append(self.info(LOCAL + stem))
            except ModelUnreadable:
                own.append(_broken(LOCAL + stem))
            except (
                ModelInvalid,
                UnknownModel,
            ):  # another ggml file (a VAD model, say): not ours to offer; or removed meanwhile
                continue
        return tuple(self._status(info) for info in (*self.catalogue.values(), *own))

    def validate(self, name: str) -> ValidModel:
        """Size, SHA-256, header, in this order. Hashes only what was never hashed.

        Raises UnknownModel, ModelUnavailable (no file here), ModelInvalid.
        """
        known = self.validated(name)
        if known is not None:
            return known
        info, path = self.info(name), self.path(name)
        if path is None:
            raise ModelUnavailable(f"The model {name} is not here.", model=name)
        if info.sha256 is None:
            log.warning("Model %s is unpinned: no published checksum vouches for %s", name, path.name)
        key = file_key(path)
        self.remember(path, file_sha256(path), key)
        known = self.validated(name)
        if known is None:
            raise ModelInvalid(f"{path} was changed while it was being checked.", model=name, path=str(path))
        return known

    def validated(self, name: str) -> ValidModel | None:
        """Like `validate`, but None where the file is not here or would first have to be hashed."""
        info, path = self.info(name), self.path(name)
        if path is None:
            return None
        size = path.stat().st_size
        if info.bytes is not None and size != info.bytes:
            raise self._invalid(info, path, f"it has {size} bytes instead of {info.bytes}")
        digest = self._digest(path)
        if digest is None:
            return None
        if info.sha256 is not None and digest != info.sha256:
            raise self._invalid(info, path, "its SHA-256 is not the published one")
        read_header(path)
        return ValidModel(info=info, path=path, sha256=digest)

    def remove(self, name: str) -> bool:
        """Delete a model's file and unfinished download. False when there was none.

        Raises UnknownModel, ValidationFailed for a bundled model.
        """
        try:
            info = self.info(name)
        except ModelInvalid:
            info = _broken(name)
        target = self.folder / info.filename
        if not target.exists() and (self.bundled / info.filename).exists():
            raise ValidationFailed(f"{name} comes with the program and cannot be removed.", model=name)
        removed = os.path.lexists(target)
        for path in (target, self.part(info), self._sidecar(target)):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.scratch(info), ignore_errors=True)
        return removed

    def part(self, info: ModelInfo) -> Path:
        """Where an unfinished download of the model lies."""
        return self.folder / f".{info.filename}.part"

    def scratch(self, info: ModelInfo) -> Path:
        """Folder for what a source needs on the way to the part."""
        return self.folder / f".{info.filename}.scratch"

    def remember(self, path: Path, sha256: str, key: FileKey) -> None:
        """Keep the digest of a file for this process and others; `key` as of before it was read."""
        self._digests[path] = (key, sha256)
        sidecar = self._sidecar(path)
        temporary = sidecar.with_suffix(f".{os.getpid()}.tmp")
        try:
            sidecar.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"key": key, "sha256": sha256}))
            os.replace(temporary, sidecar)
        except OSError as error:  # a read-only folder: every process hashes for itself then
            log.debug("Cannot keep the digest of %s: %s", path.name, error)

    def _invalid(self, info: ModelInfo, path: Path, reason: str) -> ModelInvalid:
        return ModelInvalid(
            f"{path} is not the published model {info.name}: {reason}. Remove it (`parascribe models remove "
            f"{info.name}`) to fetch it anew; to use a file of your own, give it another name ggml-<x>.bin and "
            f"ask for local:<x>.",
            model=info.name,
            path=str(path),
        )

    def _status(self, info: ModelInfo) -> ModelStatus:
        path: Path | None = None
        size, verified = info.bytes, None
        try:
            path = self.path(info.name)
            if path is not None:
                size = path.stat().st_size
                verified = True if self.validated(info.name) else None
        except (ModelInvalid, UnknownModel, OSError):  # one that cannot be used shall not hide the others
            verified = False
        if path is None and os.path.lexists(self.folder / info.filename):
            path, size, verified = self.folder / info.filename, None, False
        return ModelStatus(
            info=info,
            path=path,
            verified=verified,
            pinned=info.sha256 is not None,
            bytes=size,
            bundled=path is not None and path.parent == self.bundled,
        )

    def _local_stems(self) -> tuple[str, ...]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            names = []
        stems = (
            name[len("ggml-") : -len(".bin")] for name in names if name.startswith("ggml-") and name.endswith(".bin")
        )
        return tuple(sorted(stem for stem in stems if _NAME.fullmatch(stem) and stem not in self.catalogue))

    def _sidecar(self, path: Path) -> Path:
        return self.folder / ".digests" / f"{path.name}.json"

    def _digest(self, path: Path) -> str | None:
        """The digest of the file as it is now, if anybody hashed it since it last changed."""
        key = file_key(path)
        kept = self._digests.get(path)
        if kept and kept[0] == key:
            return kept[1]
        try:
            data = json.loads(self._sidecar(path).read_text())
            if tuple(data["key"]) != key:
                return None
            self._digests[path] = (key, str(data["sha256"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return self._digests[path][1]


def _broken(name: str) -> ModelInfo:
    """What is known of a local file that cannot be read."""
    return ModelInfo(name=name, bytes=None, sha256=None, multilingual=False, translates=False)


def file_sha256(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file's bytes. Raises ModelInvalid when it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelInvalid(f"The model file {path} cannot be read: {error.strerror}.", path=str(path)) from error


def file_key(path: Path) -> FileKey:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
