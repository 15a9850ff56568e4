"""How a stream is refused or broken off: the error's message, then the code that the WebSocket is closed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from api.http.problems import STATUS
from core.errors import JobError, LeaseLost, RequestError, ServiceError
from core.live.events import Failure

NORMAL, BAD_CLIENT, BROKEN, LATER = 1000, 1008, 1011, 1013
"""RFC 6455 and IANA's registry: ended; the client broke the rules; failed; try again later."""

_LATER = (429, 502, 503, 504, 507)


def failure_of(error: ServiceError, *, resumable: bool = False) -> Failure:
    """What the client is told of an error."""
    return Failure(code=error.code, message=error.message, resumable=resumable, errors=error.details.get("errors"))


def error_of(failure: Failure) -> ServiceError:
    """The error of a message from a live process; a code that this version does not know is ServiceError's own."""
    kind = _KINDS.get(failure.code, ServiceError)
    return kind(failure.message, **({"errors": failure.errors} if failure.errors else {}))


def close_code(failure: Failure) -> int:
    """What is worth another try is 1013, what is the client's fault 1008, the rest 1011."""
    kind = _KINDS.get(failure.code, ServiceError)
    status = STATUS.get(failure.code, 500)
    if kind.retryable or status in _LATER or (failure.resumable and not issubclass(kind, RequestError | JobError)):
        return LATER
    return BAD_CLIENT if status < 500 else BROKEN


def is_for_client(failure: Failure) -> bool:
    """Whether it would be the same at another process: the client's doing, or what it sent; or another one has the stream."""
    kind = _KINDS.get(failure.code, ServiceError)
    return not failure.resumable or issubclass(kind, RequestError | JobError | LeaseLost)


def _kinds(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


def _by_code() -> Mapping[str, type[ServiceError]]:
    own = (kind for kind in _kinds(ServiceError) if "code" in vars(kind))
    # "internal" is said of all that has no code of its own; "validation" is the code of a branch and of a leaf of it
    return {kind.code: kind for kind in own if kind.code != ServiceError.code}


_KINDS: Final[Mapping[str, type[ServiceError]]] = _by_code()
