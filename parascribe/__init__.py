"""The command line, the clients and the wiring of settings to parts.

`from parascribe import Client, AsyncClient` is the way in for programs (`parascribe.client.client`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parascribe.client.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    # made on first use: `parascribe --help` need not wait for an HTTP library
    if name in __all__:
        from parascribe.client import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
