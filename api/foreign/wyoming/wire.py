"""Wyoming's events off the wire. The library reads whatever length a client names; here it has an end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from wyoming.event import Event

from core.errors import LiveProtocol

LINE_BYTES = 1 << 16
DATA_BYTES = 1 << 16
PAYLOAD_BYTES = 1 << 20


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next one; None at the end. Raises LiveProtocol. reader: with a limit of LINE_BYTES"""
    try:
        line = await reader.readline()
        if not line:
            return None
        head = _object(json.loads(line))
        kind, data = head.get("type"), _object(head.get("data") or {})
        if not isinstance(kind, str):
            raise LiveProtocol("An event is a line of JSON with a type.")
        if size := _length(head, "data_length", DATA_BYTES):
            data |= _object(json.loads(await reader.readexactly(size)))
        payload = _length(head, "payload_length", PAYLOAD_BYTES)
        return Event(type=kind, data=data, payload=await reader.readexactly(payload) if payload else None)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except (ValueError, RecursionError):  # a line without an end too
        raise LiveProtocol("An event is a line of JSON.") from None


def _object(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise LiveProtocol("An event is a JSON object.")
    return given


def _length(head: dict[str, Any], name: str, most: int) -> int:
    given = head.get(name) or 0
    if not isinstance(given, int) or not 0 <= given <= most:
        raise LiveProtocol(f"{name}: at most {most:,} bytes")
    return given
