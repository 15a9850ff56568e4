"""Which live processes there are, and which is asked first."""

from __future__ import annotations

import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from api.http.metrics import HEARD_SECONDS
from core.store.protocols import ConsumerRow

LOOK_SECONDS = 1.0
"""How old what is known of the consumers may be."""

REMEMBERED = 10_000
"""Sessions of which it is known who has them; who knows nothing asks anybody, and it costs the other one its lease."""


UNIX = "unix:"
"""Before the path of a socket, in `ConsumerInfo.live`."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A live process: `path` of its socket where it is one of this machine, else `address`, host:port."""

    consumer: str
    token: str = field(repr=False)
    path: str | None = None
    address: str | None = None


class Places:
    """The live processes of consumers that were heard from lately, those with the fewest streams of this process first.

    consumers: asks the table, in a thread of its caller's
    """

    def __init__(
        self, consumers: Callable[[], Sequence[ConsumerRow]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._consumers, self._clock = consumers, clock
        self._known: tuple[Place, ...] = ()
        self._looked = float("-inf")
        self._streams: Counter[str] = Counter()
        self._holders: OrderedDict[str, str] = OrderedDict()

    def known(self) -> tuple[Place, ...]:
        """In no order. Blocks; raises DatabaseUnavailable."""
        if self._clock() - self._looked > LOOK_SECONDS:
            heard = (row for row in self._consumers() if row.silent_seconds < HEARD_SECONDS)
            found = (_place(row) for row in heard)
            self._known = tuple(place for place in found if place is not None)
            self._looked = self._clock()
        return self._known

    def order(self, known: Sequence[Place], session: str | None = None) -> list[Place]:
        """Whom to ask one after the other: who has the session, then who has few streams, and of those who is on this machine."""
        holder = self._holders.get(session) if session else None
        shuffled = random.sample(known, len(known))
        return sorted(
            shuffled, key=lambda place: (place.consumer != holder, self._streams[place.consumer], place.path is None)
        )

    def begun(self, place: Place, session: str) -> None:
        """A stream of this process is there now; `ended` when it no longer is."""
        self._streams[place.consumer] += 1
        self._holders[session] = place.consumer
        self._holders.move_to_end(session)
        while len(self._holders) > REMEMBERED:
            self._holders.popitem(last=False)

    def ended(self, place: Place) -> None:
        self._streams[place.consumer] -= 1
        if self._streams[place.consumer] <= 0:
            del self._streams[place.consumer]


def _place(row: ConsumerRow) -> Place | None:
    live = row.info.live or {}
    address, token = live.get("address"), live.get("token")
    if not isinstance(address, str) or not isinstance(token, str):  # another version's
        return None
    path = address.removeprefix(UNIX)
    if path == address:
        return Place(consumer=row.name, address=address, token=token)
    # else it is one of another machine
    return Place(consumer=row.name, path=path, token=token) if Path(path).is_socket() else None
