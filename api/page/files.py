"""Hands out the page and its files; `page/<version>/...` never changes, so browsers keep it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import posixpath
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from string import Template

from fastapi import APIRouter, Request, Response

from api.events.status import matches
from api.http.problems import NothingHere

FOLDER = Path(__file__).parent / "static"
FILES = "/page/"
ICON = "/favicon.ico"
"""Asked for by what does not read the page: bookmarks, the API's description."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' '$style'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing from elsewhere, no inline script, no inline style but the one with that digest, and no text becomes markup."""

HEADERS = {
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self), display-capture=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "Vary": "Accept-Encoding",
}
REVALIDATE, FOREVER = "no-cache", "public, max-age=31536000, immutable"

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""Of all files that there are: what a machine's own table says differs."""

STYLE = "styles/base.css"
"""Put into the page itself, so that it is painted without another way to the service and back."""

BEGINS = ("app/main.js", "app/jobs/view.js")
"""Modules whose imports the browser is told of at once: it would find them only one after the other."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class File:
    """One file, read and packed once."""

    content: bytes
    packed: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> File:
        digest = hashlib.sha256(content).hexdigest()[:16]
        return cls(
            content=content,
            packed=gzip.compress(content, mtime=0),
            media_type=TYPES[PurePosixPath(name).suffix],
            etag=f'W/"{digest}"',  # of both of its encodings
        )


@dataclass(frozen=True, kw_only=True)
class Page:
    """version: digest of all files; index: `index.html` with it, its style and the modules of the first view filled in"""

    version: str
    index: File
    policy: str
    files: dict[str, File]

    def response(self, request: Request, file: File, cache: str) -> Response:
        headers = {**HEADERS, "Content-Security-Policy": self.policy, "Cache-Control": cache, "ETag": file.etag}
        if matches(file.etag, request.headers.get("if-none-match")):
            return Response(status_code=304, headers=headers)
        if not _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(file.content, media_type=file.media_type, headers=headers)
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, media_type=file.media_type, headers=headers)


@cache
def page() -> Page:
    """All of it: 150 kB."""
    found = {file.relative_to(FOLDER).as_posix(): file.read_bytes() for file in FOLDER.rglob("*") if file.is_file()}
    version = hashlib.sha256(b"".join(name.encode() + found[name] for name in sorted(found))).hexdigest()[:12]
    preloads = "\n".join(
        f'<link rel="modulepreload" href="page/{version}/{name}">' for name in imported(found) if name != BEGINS[0]
    )
    style = found.pop(STYLE).decode()
    values = {"version": version, "preloads": preloads, "style": style}
    index = Template(found.pop("index.html").decode()).substitute(values)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Page(
        version=version,
        index=File.of("index.html", index.encode()),
        policy=Template(POLICY).substitute(style=f"sha256-{digest}"),
        files={name: File.of(name, content) for name, content in found.items()},
    )


def imported(files: dict[str, bytes]) -> list[str]:
    """The modules that the first view is made of, in the order in which a browser would find them."""
    found = dict.fromkeys(BEGINS)
    left = list(BEGINS)
    while left:
        name = left.pop(0)
        for reference in re.findall(rb'^(?:import|export|\}) .*?from "(\.[^"]+)";', files[name], re.MULTILINE):
            other = posixpath.normpath(posixpath.join(posixpath.dirname(name), reference.decode()))
            if other not in found:
                found[other] = None
                left.append(other)
    return list(found)


def _takes_gzip(accepted: str) -> bool:
    """Accept-Encoding of RFC 9110 §12.5.3; `*` is nobody's."""
    for one in accepted.lower().split(","):
        coding, _, weight = one.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return weight == "" or weight.strip("0.") != ""
    return False


@router.get("/")
async def show_page(request: Request) -> Response:
    """Relative addresses only, so that it works below any path of a proxy."""
    return page().response(request, page().index, REVALIDATE)


@router.get(ICON)
async def show_icon(request: Request) -> Response:
    return page().response(request, page().files["icon.svg"], REVALIDATE)


@router.get(FILES + "{version}/{name:path}")
async def show_page_file(request: Request, version: str, name: str) -> Response:
    """A page that was open while the service was upgraded asks for files that are gone: it says so and loads anew."""
    found = page()
    if version != found.version or name not in found.files:
        raise NothingHere
    return found.response(request, found.files[name], FOREVER)
