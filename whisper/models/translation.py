"""Models that translate text, as they lie in folders: one for each pair of languages, in CTranslate2's format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ModelInvalid
from core.transcript.language_tags import language_code

_PAIR = re.compile(r"(?:.*[-_])?([a-z]{2,3})[-_]([a-z]{2,3})", re.IGNORECASE)
"""What a folder may be called: de-en, opus-mt-de-en."""

BEAM_SIZE = 2
"""CTranslate2's own."""
_MOST_JSON = 1 << 20
_END = "</s>"


@dataclass(frozen=True, kw_only=True)
class TranslationModel:
    """One folder: `model.bin`, its vocabularies, and `source.spm` and `target.spm` (or `sentencepiece.model` for both).

    source, target: ISO 639-1
    licence: as `metadata.json` has it, else the first line of LICENSE, else empty
    beam_size: of the search; 1 is greedy
    before, behind: pieces around what is to be translated; begin: those that a translation begins with
    """

    folder: Path
    source: str
    target: str
    name: str
    licence: str
    beam_size: int
    before: tuple[str, ...]
    behind: tuple[str, ...]
    begin: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Weights, pieces of the source and of the target."""
        shared = self.folder / "sentencepiece.model"
        pieces = (shared, shared) if shared.exists() else (self.folder / "source.spm", self.folder / "target.spm")
        return (self.folder / "model.bin", *pieces)

    @staticmethod
    def read(folder: Path) -> TranslationModel:
        """Raises ModelInvalid, which says what is missing."""
        told = _json(folder / "metadata.json")
        named = _PAIR.fullmatch(folder.name)
        source, target = (
            language_code(str(told.get(name) or (named[n] if named else "")))
            for n, name in ((1, "source"), (2, "target"))
        )
        if not source or not target or source == target:
            raise ModelInvalid(
                f"{folder}: neither its name (such as de-en) nor metadata.json (source, target) says from which language to which it translates."
            )
        ends_itself = _json(folder / "config.json").get("add_source_eos")
        model = TranslationModel(
            folder=folder,
            source=source,
            target=target,
            name=str(told.get("name") or folder.name),
            licence=str(told.get("licence") or told.get("license") or _first_line(folder / "LICENSE")),
            beam_size=_beam(told.get("beam_size", BEAM_SIZE)),
            before=_pieces(told, "source_prefix", ()),
            behind=_pieces(told, "source_suffix", () if ends_itself else (_END,)),
            begin=_pieces(told, "target_prefix", ()),
        )
        for file in model.files:
            if not file.is_file():
                raise ModelInvalid(f"{folder}: there is no {file.name}.")
        return model


def translation_models(folder: Path | None) -> Iterator[TranslationModel | ModelInvalid]:
    """Those in a folder of folders, by name; what is wrong with one that cannot be used."""
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder else []
    except OSError as error:
        yield ModelInvalid(f"{folder}: {error.strerror}.")
        return
    for path in inside:
        try:
            yield TranslationModel.read(path)
        except ModelInvalid as error:
            yield error


def _json(path: Path) -> dict[str, Any]:
    """Raises ModelInvalid; empty where there is no such file."""
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ModelInvalid(f"{path} is too large.")
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise ModelInvalid(f"{path} is no JSON object.")
    return found


def _beam(given: Any) -> int:
    if not isinstance(given, int) or not 1 <= given <= 16:
        raise ModelInvalid("metadata.json: beam_size must be a number from 1 to 16.")
    return given


def _pieces(told: dict[str, Any], name: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    given = told.get(name)
    if given is None:
        return otherwise
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ModelInvalid(f"metadata.json: {name} must be a list of texts.")
    return tuple(given)


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(200).strip()
    except OSError:
        return ""
