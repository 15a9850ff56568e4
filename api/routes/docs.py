"""`/docs`: the API description as a page, with scripts of our own: it works without the outside world."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).resolve().parent.parent / "static" / "swagger-ui"
"""swagger-ui-dist 5.35.0 as published (Apache-2.0), without its source maps."""

FILES = "/docs/static"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Try requests in the browser."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Parascribe",
        swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{FILES}/swagger-ui.css",
        swagger_favicon_url=f"{FILES}/favicon-32x32.png",
    )


def static_files() -> StaticFiles:
    return StaticFiles(directory=STATIC)
