"""What the service asks of the tables of webhooks, by role; errors and clocks as in `core.store.protocols`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from core.webhooks import Delivery, DeliveryStatus, Due, Outcome, Undelivered, Webhook


class OwnerWebhooks(Protocol):
    """The webhooks of one owner; another's is to it like one that does not exist. All raise WebhookNotFound.

    `CALLBACK` for an id means the owner's callbacks, which are always there.
    """

    def add(self, webhook: Webhook) -> Webhook:
        """Keep a new one. Raises ValidationFailed when the owner has as many as there may be (`MOST`)."""
        ...

    def list(self) -> Sequence[Webhook]:
        """Oldest first, without the callbacks."""
        ...

    def get(self, webhook_id: str) -> Webhook: ...

    def remove(self, webhook_id: str) -> None:
        """With all that was to be sent there."""
        ...

    def rotate(self, webhook_id: str, secret: str) -> Webhook:
        """From now on this secret signs, for a day together with the one before (`OLD_SECRET_HOURS`)."""
        ...

    def resume(self, webhook_id: str) -> Webhook:
        """Active again; what waits is sent."""
        ...

    def deliveries(
        self, webhook_id: str, *, status: DeliveryStatus | None = None, limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[Delivery], str | None]:
        """Newest first. `after` is the cursor of the page before; returns (deliveries, next cursor or None)."""
        ...

    def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Once more from the start of the schedule, under the same id. Raises DeliveryNotFound."""
        ...


class Webhooks(Protocol):
    """What the API is made over."""

    def webhooks_of(self, owner: str | None, *, all_webhooks: bool = False) -> OwnerWebhooks:
        """Those of this owner; cheap. all_webhooks: everybody's too"""
        ...

    def undelivered(self) -> Undelivered: ...


class Deliveries(Protocol):
    """What sends them. Rows are made by `core.store.roles.webhooks.announce`, in the transaction that makes the event true."""

    def claim_deliveries(
        self, *, limit: int, lease_seconds: float, per_receiver: int, busy: Mapping[str, int] = MappingProxyType({})
    ) -> Sequence[Due]:
        """Those whose time has come, the longest due first, each for one attempt: after the lease another may take it.

        per_receiver: at most so many for each (`Due.receiver`), with those that it is busy with already
        """
        ...

    def settle(self, due: Due, outcome: Outcome) -> bool:
        """What came of an attempt, for the delivery and for its webhook. False: another has it by now, or it is gone."""
        ...

    def forget_deliveries(self) -> int:
        """Those of long ago (`KEPT_DAYS`). Returns how many."""
        ...
