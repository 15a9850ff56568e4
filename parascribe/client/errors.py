"""What can go wrong on the client's side of the wire.

ClientError
|-- ServiceUnreachable   nothing answers, or the connection broke and stayed broken
|-- WaitTimeout          the job has not ended in the time given; it goes on running
`-- ApiError             the service answered with an error
    |-- NotFound         404
    |-- Conflict         409: not ready, already terminal, key in use; 412: edited by somebody else meanwhile
    `-- Overloaded       429, 502, 503, 504, 507: try again after `retry_after` seconds
"""

from __future__ import annotations

from typing import Any

CODES = {
    "unreadable": "The file cannot be read, or a pipe cannot be copied to TMPDIR.",
    "file_changed": "The file was written to while it was read.",
    "output": "The transcript is there and cannot be written where it was wanted.",
    "cancelled": "The job was cancelled.",
    "not_parascribe": "What answers at that address is no Parascribe service.",
    "service_unreachable": "Nothing answers at the service's address (said by `parascribe mcp`).",
    "path_outside": "The file is in none of the folders that may be read from (said by `parascribe mcp`).",
    "http_<status>": "Something between here and the service answered, a proxy for example.",
}
"""What the command line and `Client` say by themselves, beside the service's codes."""


class ClientError(Exception):
    """Base of everything that `Client` raises."""


class ServiceUnreachable(ClientError):
    """Nothing answers at the service's address."""


class WaitTimeout(ClientError):
    """The job has not ended in the time given; it goes on running."""


class ApiError(ClientError):
    """The service refused the request.

    status: the HTTP status; code: the stable name to match on (`http_502` and the like when
    something other than the service answered); problem: the whole problem+json body, {} when
    there is none; retry_after: seconds, None when the service named none.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        problem: dict[str, Any] | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.problem = problem or {}
        self.retry_after = retry_after

    def explain(self) -> str:
        """The message, and for a refused form one line per field."""
        lines = [f"{self.message} ({self.code})"]
        for error in self.problem.get("errors") or ():
            where = error.get("field") or ".".join(str(part) for part in error.get("loc", ()))
            what = error.get("message") or error.get("msg") or error.get("detail") or ""
            lines.append(f"  {where}: {what}" if where else f"  {what}")
        return "\n".join(lines)


class NotFound(ApiError):
    """There is no such thing."""


class Conflict(ApiError):
    """The request does not fit the state the job is in."""


class Overloaded(ApiError):
    """The service cannot take it now."""


def kind_of(status: int) -> type[ApiError]:
    """The class for an HTTP status."""
    if status in (429, 502, 503, 504, 507):
        return Overloaded
    return {404: NotFound, 409: Conflict, 412: Conflict}.get(status, ApiError)
