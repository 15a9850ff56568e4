"""From a host's name to its addresses."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Protocol


class Resolver(Protocol):
    """Asked once for each connection, in a thread of its own, since it may take long."""

    def resolve(self, host: str) -> Sequence[str]:
        """Addresses, numeric, the one to try first in front. Raises OSError."""
        ...


class SystemResolver:
    """The machine's own. It also reads what people write for an address: `127.1`, `0x7f000001`."""

    def resolve(self, host: str) -> Sequence[str]:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class ScriptedResolver:
    """Answers as it is told: lets tests have any name anywhere, and names that move.

    answers: for each name, the addresses of each question in turn; the last ones stay
    """

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(turns) for name, turns in answers.items()}
        self.asked: list[str] = []

    def resolve(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        turns = self._answers.get(host)
        if turns is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return turns.pop(0) if len(turns) > 1 else turns[0]
