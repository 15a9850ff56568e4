"""Logs: the standard library's loggers everywhere, loguru at the end of the line. Only this module knows loguru."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from loguru import logger

from core import keys, webhooks

_TEXT = "{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {extra[where]} {message}"
_QUIET = (
    "urllib3",
    "httpx",
    "httpcore",
    "amqp",
    "kombu",
    "multipart",
    "python_multipart",
    "asyncio",
    "alembic",
    "filelock",
)

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

_BOUND: ContextVar[Mapping[str, Any]] = ContextVar("bound", default={})  # noqa: B039 (it is replaced, never changed)


class _Intercept(logging.Handler):
    """Hands standard records to loguru with level, name and job id (braces and percent signs stay what they are)."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        logger.bind(name_=record.name).opt(exception=record.exc_info).log(level, "{}", _safe(record.getMessage()))


def _safe(text: str) -> str:
    """Without secrets, and on one line: paths and names come from outside, and must not write lines of their own."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], webhooks.masked(keys.masked(text)))


def parse_levels(spec: str) -> tuple[str, dict[str, str]]:
    """`INFO,worker=DEBUG` -> ("INFO", {"worker": "DEBUG"})."""
    default, modules = "INFO", {}
    for part in spec.split(","):
        name, _, level = part.strip().rpartition("=")
        if name:
            modules[name.strip()] = level.strip().upper()
        else:
            default = level.strip().upper()
    return default, modules


def setup(level: str = "INFO", fmt: str = "text", *, role: str = "") -> None:
    """Route all logging to stderr. `role` (api, consumer, ...) leads each line."""
    default, modules = parse_levels(level)
    logger.remove()

    def patch(record: Any) -> None:
        extra = record["extra"]
        job = extra.get("job_id")
        extra["where"] = f"{role}[{record['process'].id}]" + (f" {job}" if job else "")

    logger.configure(patcher=patch, extra={"role": role})
    # No enqueue: it deadlocks with fork (loguru #958). diagnose prints variable values: secrets.
    logger.add(
        sys.stderr, level="TRACE", format=_TEXT, serialize=fmt == "json", backtrace=False, diagnose=False, catch=True
    )
    root = logging.getLogger()
    root.handlers[:] = [_Intercept()]
    # TRACE is loguru's; the standard library's nearest is DEBUG
    root.setLevel("DEBUG" if default == "TRACE" else default)
    for name in _QUIET:
        logging.getLogger(name).setLevel("WARNING")
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "celery.app.trace"):
        known = logging.getLogger(name)
        known.handlers[:] = []
        known.propagate = True
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel("WARNING")  # starting and stopping is told by us
    for name, module_level in modules.items():
        logging.getLogger(name).setLevel("DEBUG" if module_level == "TRACE" else module_level)
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", module="pydub")


@contextlib.contextmanager
def bound(**values: str | int) -> Iterator[None]:
    """Bind to all lines of this context (thread or task): `request_id`, `job_id`, `chunk` (from 1), `stage`."""
    before = _BOUND.set({**_BOUND.get(), **values})
    try:
        with logger.contextualize(**values):
            yield
    finally:
        _BOUND.reset(before)


def value_of(name: str) -> Any:
    """What is bound to that name here; None when nothing is."""
    return _BOUND.get().get(name)
