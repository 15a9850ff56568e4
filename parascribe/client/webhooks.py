"""`Client.webhooks`: who is told of your jobs, and what became of it. All raise NotFound for an id that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast
from urllib.parse import quote

import httpx

from parascribe.client.answers import json_of

Body = dict[str, Any]


class Send(Protocol):
    """As `Client` sends a request; repeat: again, when the connection breaks."""

    def __call__(
        self, method: str, path: str, *, repeat: bool = True, done: str = "", **options: Any
    ) -> httpx.Response: ...


class Webhooks:
    """For an id, `callback` means the addresses that jobs name (`callback_url`)."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def list(self) -> Sequence[Body]:
        """Oldest first: id, url, events, status (active, paused, disabled), failures in a row, ..."""
        return cast("Sequence[Body]", json_of(self._send("GET", _path()))["items"])

    def add(self, url: str, *, events: Sequence[str] = ()) -> Body:
        """Have an address told; of all events unless some are named. `secret` is shown this once. Raises ApiError
        (`url_refused`, `validation`). Never sent twice by itself."""
        form = {"url": url} | ({"events": [*events]} if events else {})
        return cast(Body, json_of(self._send("POST", _path(), repeat=False, json=form)))

    def remove(self, webhook_id: str) -> None:
        """Nothing more is sent there."""
        self._send("DELETE", _path(webhook_id), done="webhook_not_found")

    def rotate(self, webhook_id: str) -> str:
        """A new secret, shown this once; the one before is good for a day more."""
        return str(json_of(self._send("POST", _path(webhook_id, "rotate"), repeat=False))["secret"])

    def resume(self, webhook_id: str) -> Body:
        """Send again to one that is paused or disabled."""
        return cast(Body, json_of(self._send("POST", _path(webhook_id, "resume"))))

    def deliveries(
        self, webhook_id: str, *, status: str | None = None, limit: int | None = None, after: str | None = None
    ) -> Body:
        """One page (`items`, `next`), newest first; status: waiting, delivered or failed."""
        given = {"status": status, "limit": limit, "after": after}
        query = {name: str(value) for name, value in given.items() if value is not None}
        return cast(Body, json_of(self._send("GET", _path(webhook_id, "deliveries"), params=query)))

    def redeliver(self, webhook_id: str, delivery_id: str) -> Body:
        """Once more, under the same id."""
        return cast(Body, json_of(self._send("POST", _path(webhook_id, "deliveries", delivery_id, "redeliver"))))


def _path(*parts: str) -> str:
    return "/".join(["/api/v1/webhooks", *(quote(part, safe="", errors="replace") for part in parts)])
