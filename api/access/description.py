"""What the API's description says of keys: how they are sent, where they are needed, and what is answered without."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from api.access.credentials import COOKIE
from api.access.scopes import declared
from api.http.problems import MEDIA_TYPE

SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, `psk_...`. Needed where there is any key."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "For browsers, from `POST /api/v1/session`. What changes something needs our own `Origin` beside it.",
    },
}

ANSWERS = {
    "401": ("`unauthorized`", ("WWW-Authenticate",)),
    "403": ("`forbidden`", ()),
    "429": ("`rate_limited`", ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")),
}


def describe(schema: dict[str, Any], routes: Iterable[BaseRoute], *, also: Collection[str | None] = ()) -> None:
    """Add it to the description. also: paths that need a key and are looked after by `Authentication` alone"""
    schema["components"]["securitySchemes"] = SCHEMES
    for context in iter_route_contexts(list(routes)):
        scopes = declared(context.original_route)
        if scopes is None and context.path not in also:
            continue
        for method in context.methods or ():
            path = re.sub(r":\w+}", "}", str(context.path))  # {model:path} is described as {model}
            operation = schema["paths"].get(path, {}).get(method.lower())
            if operation is not None:
                _describe(operation, scopes)


def _describe(operation: dict[str, Any], scopes: frozenset[str] | None) -> None:
    operation["security"] = [{name: []} for name in SCHEMES]
    if scopes:
        needed = f"Scope: {' or '.join(f'`{scope}`' for scope in sorted(scopes))}."
        operation["description"] = "\n\n".join(filter(None, (operation.get("description"), needed)))
    answers = operation["responses"]
    for status, (code, headers) in ANSWERS.items():
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        known = answers.setdefault(status, {"description": "", "content": content})
        known["description"] = ", ".join(filter(None, (code, known["description"])))
        known["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    operation["responses"] = dict(sorted(answers.items()))
