"""Where a consumer's live process is found, and what lets in there."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from core.config.settings import Settings

LIVE_TOKEN, LIVE_STREAMS = "live-token", "live-streams"
"""Files of the runtime folder: what lets in at this consumer's live process, and how many streams that has."""


def live_socket(runtime: Path) -> Path:
    """Where the live process takes streams from API processes of this machine."""
    return runtime / "live"


def start_live(settings: Settings, runtime: Path, port: int | None) -> dict[str, str]:
    """What API processes have to know of this consumer's live process (`ConsumerInfo.live`), which has its token from here.

    port: of LIVE_HOST; None: it takes streams from this machine alone
    """
    token = secrets.token_urlsafe(32)
    (runtime / LIVE_TOKEN).write_text(token, "utf-8")
    if port is None:
        return {"address": f"unix:{live_socket(runtime)}", "token": token}
    return {"address": settings.live_address or _reached_at(settings.live_host, port), "token": token}


def _reached_at(host: str, port: int) -> str:
    """host:port by which another machine reaches what listens there."""
    if host in ("0.0.0.0", "::", ""):
        family, far = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            try:
                asking.connect((far, 9))  # sends nothing: the system says which of its addresses leads out
                host = asking.getsockname()[0]
            except OSError:  # no way out: a network of its own
                host = socket.gethostbyname(socket.gethostname())
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def live_streams(runtime: Path) -> int:
    """How many streams this consumer's live process has."""
    try:
        return int((runtime / LIVE_STREAMS).read_text())
    except (OSError, ValueError):
        return 0
