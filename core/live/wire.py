"""How API processes and live processes speak with one another, besides the messages: headers, sizes, close codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from core.live.events import Failure

OWNER_HEADER = "X-Parascribe-Owner"
"""Whose stream it is, percent-encoded; not there where nobody needs a key. `Authorization: Bearer` has the token."""

MESSAGE_BYTES = 1 << 20
"""Of one message from a client; audio of 5 s has less in any encoding."""

NORMAL, BAD_CLIENT, BROKEN, RESTART, LATER = 1000, 1008, 1011, 1012, 1013
"""Close codes (RFC 6455 and the registry of IANA): ended; broke the rules; failed; the process stops; try again later."""

_LATER = frozenset({"live_full", "live_behind", "live_unavailable"})
_BAD_CLIENT = frozenset(
    {
        "live_protocol",
        "live_session_not_found",
        "live_session_ended",
        "live_client_slow",
        "live_idle",
        "validation",
        "unsupported",
        "not_available",
        "unknown_model",
        "task_not_supported",
        "url_refused",
        "not_media",
        "too_large",
        "audio_undecodable",
    }
)


def close_code(failure: Failure) -> int:
    """With which a stream is closed that has failed so."""
    return LATER if failure.code in _LATER else BAD_CLIENT if failure.code in _BAD_CLIENT else BROKEN


@dataclass(frozen=True, kw_only=True)
class LiveDoor:
    """Where a live process takes streams (`core.jobs.consumers.ConsumerInfo.live`).

    token: lets in; socket: path, for API processes of its own machine; address: host:port, where LIVE_HOST is set
    streams: how many it serves, a few seconds ago
    """

    token: str
    socket: str
    address: str | None = None
    streams: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> LiveDoor | None:
        """What is stored, whoever wrote it; None for what cannot be used."""
        token, socket, address, streams = (data.get(name) for name in ("token", "socket", "address", "streams"))
        if not isinstance(token, str) or not isinstance(socket, str):
            return None
        return LiveDoor(
            token=token,
            socket=socket,
            address=address if isinstance(address, str) else None,
            streams=streams if isinstance(streams, int) else 0,
        )
