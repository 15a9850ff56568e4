"""The command line, the client and the wiring of settings to parts.

`from parascribe import Client` is the way in for programs (`parascribe.client.client`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parascribe.client.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    # made on first use: `parascribe --help` need not wait for an HTTP library
    if name == "Client":
        from parascribe.client.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
