"""What this service offers and runs on."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.access.scopes import needs
from api.deps import PREFIX, Deps
from api.http.problems import responses
from api.schemas import ModelBody, ModelsBody
from core.keys import JOBS, MODELS

router = APIRouter(prefix=PREFIX, tags=["service"], dependencies=[needs(JOBS, MODELS)], responses=responses())


@router.get("/models")
def list_models(deps: Deps) -> ModelsBody:
    """The models that jobs can name: published ones and the operator's own (`local:<name>`)."""
    items = [
        ModelBody(
            name=status.info.name,
            multilingual=status.info.multilingual,
            translates=status.info.translates,
            installed=status.installed,
            verified=status.verified,
            pinned=status.pinned,
            bytes=status.bytes,
        )
        for status in deps.models.list()
    ]
    return ModelsBody(default=deps.settings.whisper_model, items=items)


@router.get("/system")
def get_system(deps: Deps) -> dict[str, Any]:
    """Cores, memory, the resolved plan, engine library and ffmpeg with their versions."""
    return deps.system()
