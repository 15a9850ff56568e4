"""What a kind of model is to the engine host: what can be asked of it, and how it is loaded and run.

A kind is one file in `whisper.kinds`. The host gives it processes, a queue, deadlines and a socket; it knows nothing else of it.
Importing a kind must be cheap, since the engine manager does it: what is heavy is imported in `Kind.load`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

Bytes: TypeAlias = bytes | bytearray | memoryview
"""`len` is the number of bytes."""


class BadInput(ValueError):
    """The payload or the options are not something to work on; the message says why."""


class WorkFailed(RuntimeError):
    """The model gave up on this input. Its process is replaced: nobody knows what state it is in."""


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """Which model is asked: the key of a host, and of a client's reference to it."""

    #: a name of `whisper.kinds.KINDS`, or `module:attribute`
    kind: str
    #: absolute paths
    files: tuple[str, ...]
    device: str = "cpu"


SHARES_CORES = "shares_cores"
"""Key of what a kind prepares: the threads of one request let others run while they wait for each other."""


@dataclass(frozen=True, kw_only=True)
class Op:
    """One thing that can be asked of a kind."""

    #: largest payload of a request, bytes
    payload: int
    #: largest payload of a reply, bytes; 0: replies are JSON alone
    reply_payload: int = 0
    #: deadline of a request that came without one, while nothing has been measured yet, seconds
    seconds: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the operator has said of the programs behind the kinds."""

    #: WHISPER_LIBRARY
    library: Path | None = None
    #: own engine build, and verdicts of self-tests
    engine_dir: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, as a model is given it."""

    op: str
    options: dict[str, Any]
    #: of the payload, bytes
    length: int
    #: cores it may use
    threads: int
    #: fills a buffer with the next bytes of the payload
    read: Callable[[memoryview], None]
    #: whether nobody waits for the answer any more. A forked worker is killed then; a thread may look now and then
    abandoned: Callable[[], bool]

    def payload(self) -> bytearray:
        """All of it."""
        data = bytearray(self.length)
        self.read(memoryview(data))
        return data


@dataclass(frozen=True, kw_only=True)
class Reply:
    body: dict[str, Any] = field(default_factory=dict)
    payload: Bytes = b""
    #: of a kind that forks: the next request is for a worker that has not worked yet
    spent: bool = False


class Model(Protocol):
    """A loaded model. Where the kind does not fork, it is called from many threads at once."""

    #: of the program behind it; part of each answer's identity
    version: str

    def serve(self, request: Request) -> Reply:
        """Raises BadInput (the request's fault), WorkFailed; anything else counts as WorkFailed and is logged."""
        ...

    def rest(self) -> None:
        """No request has come for half a second: give back what was kept for the next one."""


class Kind(Protocol):
    """A kind of model.

    Forking kinds are loaded once, in a process that never computes, and their workers are forked from it as requests
    wait: they share the weights. The others are loaded by one process per host (a GPU's context or a thread pool does
    not survive a fork), in which as many threads as there may be workers wait for requests: what kills one of
    them kills all, and requests of the innocent are sent again.
    """

    name: str
    ops: Mapping[str, Op]
    forks: bool

    def worker_mb(self, files: Sequence[Path]) -> int:
        """Memory that one more forked worker takes for itself while it works, MB; 0: not known."""
        ...

    def prepare(self, files: Sequence[Path], setup: Setup) -> dict[str, str]:
        """Find out what runs these files on this machine. Called in a thread of the manager, before each start of a host.

        What it returns is handed to `load`, and told to clients. Raises ModelInvalid, EngineUnavailable.
        """
        ...

    def load(self, files: Sequence[Path], device: str, prepared: Mapping[str, str], *, debug: bool) -> Model:
        """Raises ModelInvalid, EngineUnavailable."""
        ...
