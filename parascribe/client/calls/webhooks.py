"""Who is told of your jobs, and what became of it. `Client.webhooks`, `AsyncClient.webhooks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from parascribe.client.answers import json_of
from parascribe.client.blocking import Blocking, blocking
from parascribe.client.calls.sending import Sending, path_of, query_of

Body = dict[str, Any]


class AsyncWebhooks(Sending):
    """The webhooks of one service. For an id, `callback` means the addresses that jobs name (`callback_url`).

    All raise NotFound for an id that is not there, and what the client's methods do.
    """

    async def list(self) -> Sequence[Body]:
        """Oldest first: id, url, events, status (active, paused, disabled), failures in a row, ..."""
        return cast("Sequence[Body]", json_of(await self._send("GET", path_of("webhooks")))["items"])

    async def add(self, url: str, *, events: Sequence[str] = ()) -> Body:
        """Have an address told; of all events unless some are named. `secret` is shown this once. Raises ApiError
        (`url_refused`, `validation`). Never sent twice by itself."""
        form = {"url": url} | ({"events": [*events]} if events else {})
        return cast(Body, json_of(await self._send("POST", path_of("webhooks"), repeat=False, json=form)))

    async def remove(self, webhook_id: str) -> None:
        """Nothing more is sent there."""
        await self._send("DELETE", path_of("webhooks", webhook_id), done="webhook_not_found")

    async def rotate(self, webhook_id: str) -> str:
        """A new secret, shown this once; the one before is good for a day more."""
        answer = await self._send("POST", path_of("webhooks", webhook_id, "rotate"), repeat=False)
        return str(json_of(answer)["secret"])

    async def resume(self, webhook_id: str) -> Body:
        """Send again to one that is paused or disabled."""
        return cast(Body, json_of(await self._send("POST", path_of("webhooks", webhook_id, "resume"))))

    async def deliveries(
        self, webhook_id: str, *, status: str | None = None, limit: int | None = None, after: str | None = None
    ) -> Body:
        """One page (`items`, `next`), newest first; status: waiting, delivered or failed."""
        query = query_of(status=status, limit=limit, after=after)
        return cast(Body, json_of(await self._send("GET", path_of("webhooks", webhook_id, "deliveries"), params=query)))

    async def redeliver(self, webhook_id: str, delivery_id: str) -> Body:
        """Once more, under the same id."""
        path = path_of("webhooks", webhook_id, "deliveries", delivery_id, "redeliver")
        return cast(Body, json_of(await self._send("POST", path)))


class Webhooks(Blocking):
    """`AsyncWebhooks`, each call of which returns when it is done."""

    list = blocking(AsyncWebhooks.list)
    add = blocking(AsyncWebhooks.add)
    remove = blocking(AsyncWebhooks.remove)
    rotate = blocking(AsyncWebhooks.rotate)
    resume = blocking(AsyncWebhooks.resume)
    deliveries = blocking(AsyncWebhooks.deliveries)
    redeliver = blocking(AsyncWebhooks.redeliver)
