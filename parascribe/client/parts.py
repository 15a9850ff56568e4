"""Large files go in parts (tus 1.0): what has come stays, and a line that breaks costs a part and not the file."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import httpx

from parascribe.client.answers import error_of, unreachable
from parascribe.client.errors import ApiError, Overloaded, ServiceUnreachable
from parascribe.client.inputs import Steady
from parascribe.client.transport import Transport

FROM_BYTES = 64 << 20
"""Smaller files go at once."""

PART_BYTES = 32 << 20
"""Of one request: below what proxies and gateways commonly let pass (100 MB)."""

TRIES = 10
"""How often it is tried without a byte getting there: more than two minutes."""

_TUS = {"Tus-Resumable": "1.0.0"}
_BLOCK = 1 << 18


async def send_in_parts(
    transport: Transport[Any], file: BinaryIO, steady: Steady, form: Mapping[str, str], *, name: str, size: int
) -> str | None:
    """Path of the job that the file has become; None of a service that takes no parts.

    steady: reads `file`. Raises ServiceUnreachable, ApiError, FileChanged.
    """
    fields = {"filename": name, **form}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())
    try:
        begun = await transport.request(
            "POST", "/api/v1/uploads", headers=_TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata}
        )
    except httpx.TransportError as error:
        raise ServiceUnreachable(unreachable(transport.base_url, error)) from error
    if begun.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
        return None  # before 0.3, or a proxy that lets nothing else pass
    if not begun.is_success:
        raise error_of(begun)
    at = begun.headers["Location"]
    try:
        return await _send(transport, file, steady, at, size)
    except ServiceUnreachable:
        raise  # nobody is there to be told
    except BaseException:
        with contextlib.suppress(httpx.TransportError):
            await transport.request("DELETE", at, headers=_TUS)
        raise


async def _send(transport: Transport[Any], file: BinaryIO, steady: Steady, at: str, size: int) -> str:
    offset, failed = 0, 0
    while True:
        try:
            if failed:
                await transport.sleep(min(15.0, 0.25 * 2**failed))
                before, offset = offset, await _offset(transport, at)
                failed = 0 if offset > before else failed
            answer = await _patch(transport, file, steady, at, offset, min(PART_BYTES, size - offset))
            if not answer.is_success:
                raise error_of(answer)
            offset, failed = int(answer.headers["Upload-Offset"]), 0
            if "Location" in answer.headers:
                return str(answer.headers["Location"])
        except httpx.TransportError as error:
            failed += 1
            if failed == TRIES:
                raise ServiceUnreachable(unreachable(transport.base_url, error)) from error
        except ApiError as error:
            # held by a request of ours that broke, or counted although its answer was lost; or the service is away
            passes = error.code in ("upload_locked", "offset_conflict") or (
                isinstance(error, Overloaded) and error.code not in ("queue_full", "quota_exceeded", "rate_limited")
            )
            failed += 1
            if not passes or failed == TRIES:
                raise


async def _offset(transport: Transport[Any], at: str) -> int:
    answer = await transport.request("GET", at)
    if not answer.is_success:
        raise error_of(answer)
    return int(answer.headers["Upload-Offset"])


async def _patch(
    transport: Transport[Any], file: BinaryIO, steady: Steady, at: str, offset: int, size: int
) -> httpx.Response:
    file.seek(offset)

    def pieces() -> Iterator[bytes]:
        left = size
        while left and (piece := steady.read(min(_BLOCK, left))):
            left -= len(piece)
            yield piece

    headers = {
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(size),
    }
    return await transport.request("PATCH", at, content=pieces(), headers=_TUS | headers)
