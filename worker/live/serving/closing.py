"""How a stream is broken off: the error's message, then the code with which its WebSocket is closed."""

from __future__ import annotations

import logging

from core.errors import (
    HandedBack,
    LeaseLost,
    LiveBehind,
    LiveFull,
    LiveProtocol,
    LiveSessionEnded,
    LiveSessionNotFound,
    RequestError,
    ServiceError,
)
from core.live.events import Failure

log = logging.getLogger(__name__)

NORMAL, BAD_CLIENT, BROKEN, RESTART, LATER = 1000, 1008, 1011, 1012, 1013
"""RFC 6455 and IANA's registry: ended; the client broke the rules; failed; the process stops; try again later."""

_OVER = (LeaseLost, LiveProtocol, LiveSessionEnded, LiveSessionNotFound)


def close_code(error: BaseException | None) -> int:
    if error is None:
        return NORMAL
    if isinstance(error, HandedBack):
        return RESTART
    if isinstance(error, LiveFull | LiveBehind):
        return LATER
    return BAD_CLIENT if isinstance(error, RequestError) and error.code != "insufficient_storage" else BROKEN


def may_go_on(error: BaseException) -> bool:
    """Whether a stream that has failed so can be gone on with."""
    return not isinstance(error, _OVER)


def failure_of(error: BaseException, *, resumable: bool) -> Failure:
    """What the client is told; a defect is logged and not told."""
    if not isinstance(error, ServiceError):
        log.error("A live stream failed", exc_info=error)
        error = ServiceError("Something went wrong inside the service; its log says more.")
    return Failure(code=error.code, message=error.message, resumable=resumable, errors=error.details.get("errors"))
