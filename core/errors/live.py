"""What can go wrong with a live stream, beside what can with any request."""

from __future__ import annotations

from core.errors.base import RequestError


class LiveFull(RequestError):
    """As many live streams run as this service can keep up with; try again later."""

    code = "live_full"
    retryable = True


class LiveUnavailable(RequestError):
    """No process that serves live streams can be reached; try again later."""

    code = "live_unavailable"
    retryable = True


class LiveSessionNotFound(RequestError):
    """There is no live stream with that session."""

    code = "live_session_not_found"


class LiveSessionEnded(RequestError):
    """That live stream has ended; begin a new one."""

    code = "live_session_ended"


class LiveProtocol(RequestError):
    """The stream broke the rules of live streams."""

    code = "live_protocol"


class LiveBehind(RequestError):
    """Recognition does not keep up with the stream; go on with its session later."""

    code = "live_behind"
    retryable = True


class LiveClientSlow(RequestError):
    """The client does not read what it is told; go on with the session when it does."""

    code = "live_client_slow"
    retryable = True


class LiveIdle(RequestError):
    """Nothing has come for so long that the stream was closed."""

    code = "live_idle"
    retryable = True
