"""The headers of tus 1.0 (https://tus.io/protocols/resumable-upload): version, metadata, expiry."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Coroutine
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from api.http.problems import field_errors, told
from api.upload.filepart import clean_filename
from core.errors import ServiceError, UploadProtocol, refusal

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
OFFSET_STREAM = "application/offset+octet-stream"

MAX_METADATA = 16_384
"""Bytes of Upload-Metadata."""

_NAME = ("filename", "name")
_HINT = ("filetype", "type")
"""What clients call the two things that browsers know of a file. The type is a hint that nobody needs: the bytes tell."""


class TusRoute(APIRoute):
    """A route that speaks tus: it says so in each answer, errors too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                try:
                    response = await handle(request)
                except RequestValidationError as error:
                    raise refusal(*field_errors(error.errors())) from None
            except ServiceError as error:
                response = told(request.method, request.url.path, error)
                if isinstance(error, UploadProtocol):
                    response.headers["Tus-Version"] = VERSION
            response.headers["Tus-Resumable"] = VERSION
            return response

        return handled


async def check_version(request: Request) -> None:
    """Raises UploadProtocol. Whoever only looks may do so without saying a version."""
    if request.method in ("POST", "PATCH", "DELETE") and request.headers.get("tus-resumable") != VERSION:
        raise UploadProtocol


def metadata_of(header: str) -> dict[str, str]:
    """Upload-Metadata: names and, in Base64, their values. Raises ValidationFailed."""
    found: dict[str, str] = {}
    if len(header) > MAX_METADATA:
        raise _refused(f"longer than {MAX_METADATA} bytes")
    for pair in filter(None, (part.strip() for part in header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            text = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise _refused(f"the value of {name[:100]!r} is no Base64 of UTF-8") from None
        if name in found:
            raise _refused(f"{name[:100]!r} is there more than once")
        found[name] = text
    return found


def file_and_options(metadata: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The file's name, and the rest: options of the job, and its batch."""
    named = [metadata[name] for name in _NAME if metadata.get(name)]
    options = {name: value for name, value in metadata.items() if name not in _NAME + _HINT}
    return clean_filename(named[0] if named else "upload"), options


def expires(moment: datetime) -> str:
    """Upload-Expires."""
    return format_datetime(moment, usegmt=True)


def _refused(message: str) -> ServiceError:
    return refusal({"field": "Upload-Metadata", "message": message})
