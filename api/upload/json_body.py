"""A small JSON object as a request's body, read strictly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from starlette.requests import Request

from api.upload.receiver import Receiver
from core.errors import TooLarge, ValidationFailed, refusal

MAX_BYTES = 64 * 1024


def is_json(request: Request) -> bool:
    """By the header."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


async def read_object(
    request: Request,
    receiver: Receiver,
    *,
    most: int = MAX_BYTES,
    large: Mapping[str, int] = MappingProxyType({}),
    blank: bool = False,
) -> dict[str, Any]:
    """Raises ValidationFailed for what is no JSON object of plain values, or names one twice; TooLarge, UploadTooSlow.

    large: members that may have so many bytes beside the others; blank: no body at all is an empty object
    """
    data, in_all = bytearray(), most + sum(large.values())
    async for piece in receiver.pieces(request):
        data += piece
        if len(data) > in_all:
            raise TooLarge(f"The JSON has more than {in_all:,} bytes.", max_bytes=in_all)
    if blank and not data:
        return {}
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_constant)
        json.dumps(
            found, ensure_ascii=False, allow_nan=False
        ).encode()  # half a surrogate pair is no text, 1e999 no number
    except ValidationFailed:
        raise
    except (ValueError, RecursionError):
        raise ValidationFailed("The body is no JSON in UTF-8.", errors=[_error("is no JSON in UTF-8")]) from None
    if not isinstance(found, dict):
        raise ValidationFailed("The body is no JSON object.", errors=[_error("is no JSON object")])
    if len(data) > most and len(json.dumps({name: found[name] for name in found.keys() - large.keys()})) > most:
        raise TooLarge(f"The JSON has more than {most:,} bytes.", max_bytes=most)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counted = Counter(name for name, _ in pairs)
    if repeated := sorted(name for name, count in counted.items() if count > 1):
        raise refusal(*({"field": name, "message": "given more than once"} for name in repeated))
    return dict(pairs)


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _error(message: str) -> dict[str, str]:
    return {"field": "body", "message": message}
