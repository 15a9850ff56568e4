"""Files as answers: what they are called, and which part of one is asked for (RFC 6266, RFC 9110 §14)."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote

from core.errors import InvalidRange

_RANGE = re.compile(r"bytes=[ \t]*(\d{1,18})?-(\d{1,18})?[ \t]*", re.ASCII)


def content_disposition(name: str, kind: Literal["attachment", "inline"] = "attachment") -> str:
    """A file's name: plain ASCII for old clients, the real one by RFC 5987 (RFC 6266 §4.3)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def renamed(source: str, extension: str) -> str:
    """The name of what was made from a file."""
    return f"{source.rpartition('.')[0] or source}.{extension}"


def part_of(size: int, asked: str | None) -> tuple[int, int] | None:
    """The bytes [start, end) that a `Range` asks for; None for all: several parts, and what is no range, count as not asked.

    Raises InvalidRange for what lies behind the end.
    """
    found = _RANGE.fullmatch(asked or "")
    if found is None or found[1] is found[2] is None:
        return None
    if found[1] is None:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise InvalidRange(f"The file has {size} bytes.", size=size)
    return start, end
