"""What came back from the service: its JSON, its errors."""

from __future__ import annotations

import json
from typing import Any

import httpx

from parascribe.client.errors import ApiError, kind_of


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds, a minute at most; None when the service named none."""
    value = answer.headers.get("Retry-After", "")
    return min(60.0, float(value)) if value.isdigit() else None


def json_of(answer: httpx.Response) -> Any:
    """Raises ApiError (`not_parascribe`)."""
    try:
        return answer.json()
    except ValueError:
        message = f"{answer.url} answered, but not like a Parascribe service"
        raise ApiError(answer.status_code, "not_parascribe", message) from None


def error_of(answer: httpx.Response) -> ApiError:
    """A refusal as the exception for it."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    code = problem.get("code") or f"http_{answer.status_code}"
    detail = problem.get("detail") or problem.get("title")
    message = detail if isinstance(detail, str) else f"{answer.status_code} {answer.reason_phrase}"
    return kind_of(answer.status_code)(answer.status_code, code, message, problem, retry_after=retry_after(answer))


def unreachable(base_url: str, error: httpx.TransportError) -> str:
    """Why there was no answer, and what to do."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return f"{base_url!r} is no address of a service: it begins with http:// or https://"
    if isinstance(error, httpx.ConnectError):
        return f"Cannot reach {base_url} ({error}). Is the service running? Start it with: parascribe serve"
    return f"The connection to {base_url} broke: {error or type(error).__name__}"


def form_text(value: object) -> str:
    """As forms and queries have it."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.encode(errors="replace").decode()  # a name from disk, or an argument, need not be valid Unicode
