"""People whose voices are known: each by a name, and by a sample of the voice or one that the owner has kept.

A sample comes as a data URL (RFC 2397), as in OpenAI's `known_speaker_references`. Its bytes go into the object store; in a job's
options only its SHA-256 stays.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

MOST = 20
"""More people are not told apart in one recording."""
NAME_CHARACTERS = 100
SAMPLE_BYTES = 2 << 20
"""10 s of stereo at 48 kHz with 16 bits, which is the most that a sample needs."""
FIELD_BYTES = 12 << 20
"""Of the whole list as text: 20 samples of 10 s as WAV files of 16 kHz, in base64."""

_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_SHA256 = "sha256:"

Entry = Mapping[str, str]
"""`name`, and `sample` (a data URL when given, `sha256:...` when kept), `voice` (name of a kept one), or neither: one kept by that
name."""


def name_of(given: Any) -> str:
    """A name as it is kept. Raises ValueError in words for the user."""
    name = unicodedata.normalize("NFC", given.strip()) if isinstance(given, str) else ""
    if not name or len(name) > NAME_CHARACTERS:
        raise ValueError(f"a name has 1 to {NAME_CHARACTERS} characters")
    if not name.isprintable():
        raise ValueError("a name holds no control characters")
    if re.fullmatch(r"SPEAKER_\d+", name):
        raise ValueError("SPEAKER_ and a number is what people are called who are not known")
    return name


def known_speakers(given: list[dict[str, Any]]) -> list[dict[str, str]] | None:
    """The list as it is kept. Raises ValueError in words for the user."""
    found = [_entry(n, one) for n, one in enumerate(given)]
    names = [one["name"] for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the name {twice[0]} is there twice")
    return found or None


def _entry(n: int, given: dict[str, Any]) -> dict[str, str]:
    try:
        if unknown := sorted(given.keys() - {"name", "sample", "voice"}):
            raise ValueError(f"has a name and a sample or a voice, but no {unknown[0]}")
        name = name_of(given.get("name"))
        if given.get("sample") is not None and given.get("voice") is not None:
            raise ValueError("has a sample or a voice, not both")
        if given.get("sample") is not None:
            return {"name": name, "sample": _SHA256 + hashlib.sha256(_bytes_of(given["sample"])).hexdigest()}
        voice = given.get("voice")
        return {"name": name, "voice": name if voice is None else name_of(voice)}
    except ValueError as error:
        raise ValueError(f"entry {n}: {error}") from None


def _bytes_of(sample: Any) -> bytes:
    """Of a data URL. Raises ValueError."""
    head = _DATA_URL.match(sample) if isinstance(sample, str) else None
    if head is None:
        raise ValueError("a sample is a data URL with base64, such as data:audio/wav;base64,UklGR...")
    if len(sample) - head.end() > SAMPLE_BYTES * 4 // 3 + 4:
        raise ValueError(f"a sample has at most {SAMPLE_BYTES} bytes")
    try:
        data = base64.b64decode(sample[head.end() :], validate=True)
    except ValueError:
        raise ValueError("the sample is no base64") from None
    if not data:
        raise ValueError("the sample is empty")
    return data


def samples_in(given: Any) -> dict[str, bytes]:
    """The samples in a list that `known_speakers` has taken, as it was given (text or JSON): what is kept of each -> its bytes."""
    entries = json.loads(given) if isinstance(given, str) and given.strip() else given
    found = [_bytes_of(one["sample"]) for one in entries or () if one.get("sample") is not None]
    return {_SHA256 + hashlib.sha256(data).hexdigest(): data for data in found}


def asked_samples(entries: Iterable[Entry] | None) -> list[str]:
    """What is kept of the samples among these."""
    return [one["sample"] for one in entries or () if "sample" in one]


def asked_voices(entries: Iterable[Entry] | None) -> list[str]:
    """Names of the kept voices among these."""
    return [one["voice"] for one in entries or () if "voice" in one]


# --- the object with a job's samples: one line of JSON that says what follows, and how many bytes each has
def packed(samples: Mapping[str, bytes]) -> bytes:
    head = json.dumps({name: len(data) for name, data in samples.items()}).encode()
    return head + b"\n" + b"".join(samples.values())


def unpacked(data: BinaryIO) -> dict[str, bytes]:
    """Raises ValueError for what `packed` has not made."""
    whole = io.BytesIO(data.read())
    sizes: dict[str, int] = json.loads(whole.readline())
    return {name: whole.read(size) for name, size in sizes.items()}
