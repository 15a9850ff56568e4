"""The FastAPI application, made from its parts; nothing happens on import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.access.authentication import METRICS, Authentication
from api.access.description import describe
from api.access.identity import Authenticator
from api.access.throttle import Throttle
from api.batches import asked
from api.deps import PREFIX, ApiDeps, ApiStore, Parts
from api.events.status import StatusRoute
from api.foreign import interfaces
from api.http import problems
from api.http.middleware import HeadAsGet, LingeringClose, RequestLog
from api.page import files as page
from api.routes import batch_new, batches, follow, jobs, live, submit, uploads, voices, webhooks
from api.routes.service import about, docs, health, keys, session, storage
from api.routes.texts import audio, results, search, transcripts
from api.upload.form import form_schema, named_schema, options_schema

DESCRIPTION = """Turns speech into text: `POST /api/v1/jobs` with a file, look at the job until it has completed, fetch
the result in the format you want. Errors are `application/problem+json` with a stable `code`."""

TAGS = [
    {"name": "jobs", "description": "Upload, follow, steer, fetch."},
    {"name": "voices", "description": "Whose voices you know, so that jobs know them by name."},
    {"name": "webhooks", "description": "Be told when jobs have ended."},
    {"name": "uploads", "description": "Files in parts, over a bad line: tus 1.0."},
    {"name": "batches", "description": "Many files as one: counted, steered and fetched together."},
    {"name": "session", "description": "For browsers, in place of a key."},
    {"name": "keys", "description": "Who may come in: for administrators."},
    {"name": "openai", "description": "OpenAI's audio interface: its clients work unchanged with `base_url=.../v1`."},
    {"name": "deepgram", "description": "Deepgram's interface: its clients work unchanged, given this address."},
    {"name": "whisper.cpp", "description": "The interface of whisper.cpp's own server."},
    {"name": "asr", "description": "The interface of whisper-asr-webservice, for Bazarr and the like."},
    {"name": "parallel", "description": "An older interface, for its clients."},
    {"name": "service", "description": "What there is to choose from and what it runs on."},
    {"name": "health", "description": "For monitoring."},
]


def create_app(deps: ApiDeps, store: ApiStore, authenticator: Authenticator) -> FastAPI:
    """The whole HTTP interface over these parts. Each app has threads of its own, from start-up to shutdown."""
    parts, settings = Parts.of(deps, store), deps.settings

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if settings.wyoming_port:
                from api.foreign.wyoming import server as wyoming  # needs an extra

                host, port, idle = settings.wyoming_host, settings.wyoming_port, settings.live_idle_seconds
                await stack.enter_async_context(wyoming.serving(parts, host, port, idle=idle))
            yield
        parts.close()
        await deps.limiter.close()

    app = FastAPI(
        title="Parascribe",
        version=deps.version,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.parts = parts
    problems.install(app)
    for noun in (
        submit,
        uploads,
        batch_new,
        batches,
        jobs,
        results,
        transcripts,
        search,
        audio,
        follow,
        live,
        voices,
        webhooks,
        session,
        keys,
        about,
        storage,
        health,
    ):
        app.include_router(noun.router)
    for router in interfaces.ROUTERS:
        app.include_router(router)
    app.include_router(page.router)
    app.include_router(docs.router)
    app.mount(docs.FILES, docs.static_files())
    # the last one added is the outermost
    app.add_middleware(StatusRoute, reads=parts.status, prefix=PREFIX, route=jobs.STATUS)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Throttle, limiter=deps.limiter)
    app.add_middleware(Authentication, authenticator=authenticator, foreign=interfaces.TOLD)
    app.add_middleware(RequestLog, observe=parts.metrics.request)
    app.add_middleware(LingeringClose)
    app.openapi = lambda: _openapi(app, deps)  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _openapi(app: FastAPI, deps: ApiDeps) -> dict[str, Any]:
    """FastAPI's description, with our error body in place of its own, and the options of a job from their table."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, tags=app.openapi_tags, routes=app.routes
        )
        components = schema["components"]["schemas"]
        template = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        components.update(template.pop("$defs"))
        components["Problem"] = template
        components["ParamsBody"] |= options_schema(deps.options, "ParamsBody", filled=True)
        submitted = schema["paths"][f"{PREFIX}/jobs"]["post"]["requestBody"]["content"]
        submitted["multipart/form-data"]["schema"] = form_schema(deps.options, deps.settings.job_defaults)
        submitted["application/json"]["schema"] = named_schema(deps.options, deps.settings.job_defaults)
        schema["paths"][f"{PREFIX}/batches"]["post"]["requestBody"]["content"] = asked.described(deps.options)
        describe(schema, app.routes, also=[METRICS])
        app.openapi_schema = schema
    return app.openapi_schema
