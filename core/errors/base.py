"""The root of the error tree, and its four branches."""

from __future__ import annotations

from typing import Any, ClassVar


class ServiceError(Exception):
    """Something went wrong inside the service."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or self.code).splitlines()[0]
        self.details = details
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.details))


def _rebuild(kind: type[ServiceError], message: str, details: dict[str, Any]) -> ServiceError:
    return kind(message, **details)


class RequestError(ServiceError):
    """The request cannot be served as it stands."""

    code = "validation"


class JobError(ServiceError):
    """The job cannot be completed."""


class TransientError(ServiceError):
    """A part of the service cannot be reached at the moment."""

    retryable = True


class Interrupted(ServiceError):
    """The run stops on purpose."""
