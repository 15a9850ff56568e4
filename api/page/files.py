"""Hands out the page and its files; `page/<version>/...` never changes, so browsers keep it."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from string import Template
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.responses import PlainTextResponse

FOLDER = Path(__file__).parent / "static"
FILES = "/page/"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing from elsewhere, no inline script or style, and no text becomes markup (trusted types)."""

_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}

router = APIRouter(include_in_schema=False)


class _Page(NamedTuple):
    """version: digest of all files; html: `index.html` with that filled in"""

    version: str
    html: bytes
    files: dict[str, bytes]


@cache
def page() -> _Page:
    """All of it, read once: 150 kB."""
    files = {
        file.relative_to(FOLDER).as_posix(): file.read_bytes() for file in sorted(FOLDER.rglob("*")) if file.is_file()
    }
    version = hashlib.sha256(b"".join(name.encode() + data for name, data in files.items())).hexdigest()[:12]
    index = Template(files.pop("index.html").decode()).substitute(version=version)
    return _Page(version, index.encode(), files)


@router.get("/")
def show_page(request: Request) -> Response:
    """Relative addresses only, so that it works below any path of a proxy."""
    found = page()
    tag = f'"{found.version}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(found.html, media_type="text/html", headers=headers)


@router.get(FILES + "{version}/{name:path}")
def show_page_file(version: str, name: str) -> Response:
    """A page that was open while the service was upgraded asks for files that are gone: it says so and loads anew."""
    found = page()
    data = found.files.get(name) if version == found.version else None
    if data is None:
        return PlainTextResponse("No such file of the page.", status_code=404)
    suffix = Path(name).suffix
    return Response(
        data,
        media_type=_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream",
        headers={"Cache-Control": "public, max-age=31536000, immutable", "Content-Security-Policy": POLICY},
    )
