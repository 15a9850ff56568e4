"""What a consumer says of itself with each sign of life."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from core.system.machine import Plan


@dataclass(frozen=True, kw_only=True)
class ConsumerInfo:
    """All of it may be missing: other versions write other things."""

    host: str | None = None
    #: where its process ids mean something, and the owner name of its supervisor (`core.system.identity`)
    pid_space: str | None = None
    supervisor: str | None = None
    plan: Plan | None = None
    #: the default model, and the version of the program
    model: str | None = None
    version: str | None = None
    #: values of the option `enhance` that it can do
    enhance: Sequence[str] | None = None
    #: state of its engine manager (`whisper.engine.host_client.HostClient.status`)
    engine: Mapping[str, Any] = field(default_factory=dict)
    #: where it takes live streams: `address` ("unix:/path" or "host:port") and the `token` that lets in; None: nowhere
    live: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def slots(self) -> int:
        """Jobs that it takes at once."""
        return self.plan.jobs if self.plan else 0

    def to_dict(self) -> dict[str, Any]:
        """As stored: what is known of it."""
        known = {name: getattr(self, name) for name in _NAMES if getattr(self, name) is not None}
        return known | ({"plan": self.plan.to_dict()} if self.plan else {})

    def public(self) -> dict[str, Any]:
        """What GET /system shows of it."""
        return {name: value for name, value in self.to_dict().items() if name not in _PRIVATE}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> ConsumerInfo:
        """What is stored, read as far as this version knows it."""
        known = {name: data[name] for name in _NAMES if name in data}
        try:
            return ConsumerInfo(**known | {"plan": Plan.from_dict(data["plan"]) if data.get("plan") else None})
        except TypeError:  # another version's plan
            return ConsumerInfo(**known | {"plan": None})


def enhancements(consumers: Iterable[ConsumerInfo]) -> frozenset[str] | None:
    """Values of `enhance` that some of them can do; None where none of them has said."""
    told = [info.enhance for info in consumers if info.enhance is not None]
    return frozenset(one for can in told for one in can) if told else None


_PRIVATE = frozenset({"pid_space", "supervisor", "live"})

_NAMES = tuple(field.name for field in fields(ConsumerInfo))
