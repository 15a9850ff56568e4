"""Kinds of models that exist only here, for what the engine host promises to every kind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import ModelInvalid
from whisper.kinds.whisper import WhisperKind
from whisper.wire.kind import BadInput, Model, Op, Reply, Request, Setup, WorkFailed

MOST = 4_000_000


class MadeModel(Model):
    """looks: whether a "hold" ends by itself once nobody waits for it, as it must in a thread; a process is killed."""

    version = "1"

    def __init__(self, *, looks: bool) -> None:
        self._looks = looks

    def serve(self, request: Request) -> Reply:
        data = request.payload()
        who = {"thread": threading.get_native_id()}
        match request.op:
            case "reverse":
                return Reply(body=who, payload=data[::-1])
            case "hold":  # until a file is there
                end = time.monotonic() + 60
                while (
                    not Path(request.options["until"]).exists()
                    and not (self._looks and request.abandoned())
                    and time.monotonic() < end
                ):
                    time.sleep(0.01)
                return Reply(body=who)
            case "hang":
                time.sleep(600)
            case "spend":
                return Reply(body={"pid": os.getpid()}, spent=True)
            case "say too much":
                return Reply(payload=b"x")
            case "refuse":
                raise BadInput("not this")
            case "give up":
                raise WorkFailed("no idea")
        raise AssertionError(request.op)


class Forked:
    """Its workers are forked after its file was read."""

    name = "made"
    ops: Mapping[str, Op] = {
        "reverse": Op(payload=MOST, reply_payload=MOST),
        "hang": Op(payload=0, seconds=0.3),
        **{op: Op(payload=0) for op in ("hold", "say too much", "refuse", "give up", "spend")},
    }
    forks = True

    def worker_mb(self, files: Sequence[Path]) -> int:
        return 0

    def prepare(self, files: Sequence[Path], setup: Setup) -> dict[str, str]:
        return {"read_by": "the manager"}

    def load(self, files: Sequence[Path], device: str, prepared: Mapping[str, str], *, debug: bool) -> Model:
        if files[0].read_text() != "good":
            raise ModelInvalid(f"{files[0].name} is not good")
        assert (device, dict(prepared)) == ("cpu", {"read_by": "the manager"})
        return MadeModel(looks=not self.forks)


class Threaded(Forked):
    """One process reads its file and has threads."""

    forks = False


class HeldWhisper(WhisperKind):
    """Whisper that is not read as long as there is a file `<model>.held`."""

    def load(self, files: Sequence[Path], device: str, prepared: Mapping[str, str], *, debug: bool) -> Model:
        end = time.monotonic() + 60
        while Path(f"{files[0]}.held").exists() and time.monotonic() < end:
            time.sleep(0.05)
        return super().load(files, device, prepared, debug=debug)
