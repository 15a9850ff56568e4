"""`/docs`: the API description as a page, with scripts from the machine itself: it works without the outside world."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

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
    """Swagger UI as the package fastapi-swagger brings it."""
    return StaticFiles(packages=[("fastapi_swagger", "resources")])
