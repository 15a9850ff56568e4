"""What an assistant is told when something does not go: what happened, its code, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import ValidationError

from parascribe.client.errors import ApiError, ClientError, Overloaded, ServiceUnreachable
from parascribe.client.inputs import FileChanged

ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "service_unreachable": "Ask the user to start the service (parascribe serve) or to set PARASCRIBE_URL, then try again.",
        "not_parascribe": "Ask the user to check PARASCRIBE_URL.",
        "unauthorized": "Ask the user to set PARASCRIBE_API_KEY to a key of the service.",
        "forbidden": "Ask the user for a key that may do this.",
        "validation": "Correct what is named and call again.",
        "path_outside": "Give a path in one of these folders, or ask the user to allow another with --root.",
        "unreadable": "Check the path; it may be relative to an allowed folder.",
        "file_changed": "Wait until the file is complete, then call again.",
        "unsupported": "This service does not offer it. For a URL: give a local file.",
        "url_refused": "Give an address in the public internet, or a local file.",
        "not_media": "Give an audio or video file.",
        "empty_upload": "Give a file that has something in it.",
        "too_large": "Give a smaller file, or have it split.",
        "unknown_model": "Leave out `model` to use the service's own.",
        "job_not_found": "Look for the id with list_jobs or search.",
        "not_ready": "Look with status and its wait_seconds; result works once the job has completed.",
        "already_terminal": "Nothing to do: status says how it ended.",
        "expired": "Its data has been removed: transcribe the file anew.",
        "revision_not_found": "Use latest, original or a number up to the newest one.",
        "not_in_result": "Use another format.",
        "queue_full": "Try again later.",
        "quota_exceeded": "Try again later, or ask the user to raise the key's limits.",
    }
)
"""By code. What is not here speaks for itself."""


class Refused(ClientError):
    """What this server refuses by itself."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def explained(error: Exception) -> str | None:
    """The words for an error that was to be expected; None for a mistake of ours."""
    match error:
        case ValidationError():
            return _words("validation", "; ".join(_field(one["loc"], one["msg"]) for one in error.errors()))
        case Overloaded(retry_after=float(seconds)):
            return _words(error.code, error.message, f"Try again in {seconds:.0f} s.")
        case ApiError():
            fields = [_field((one.get("field"),), one.get("message", "")) for one in error.problem.get("errors") or ()]
            return _words(error.code, "; ".join(fields) or error.message)
        case Refused():
            return _words(error.code, str(error))
        case ServiceUnreachable():
            return _words("service_unreachable", str(error))
        case FileChanged():
            return _words("file_changed", f"The file was not taken: {error}")
        case OSError():
            return _words("unreadable", f"The file cannot be read: {error.strerror or error}")
    return None


def _words(code: str, message: str, advice: str | None = None) -> str:
    return " ".join([f"{message.rstrip('.')} ({code}).", advice or ADVICE.get(code, "")]).rstrip()


def _field(place: tuple[object, ...], message: str) -> str:
    where = ".".join(map(str, place))
    return f"{where}: {message.removeprefix('Value error, ')}" if where else message.removeprefix("Value error, ")
