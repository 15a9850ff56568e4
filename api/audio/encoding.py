"""A file in a form that players can play, made by a program of its own."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from api.audio.forms import FormName
from api.audio.programs import Request, running
from core.errors import AudioUndecodable

STALL_SECONDS, LONGEST_SECONDS = 300.0, 3600.0
"""So long without a byte, or in all, and it is given up: an hour of audio takes some ten seconds."""

TICK = 0.1
"""How often who waits is asked whether he still does, seconds."""

BLOCK_BYTES = 64 * 1024


def encode(
    request: Request,
    source: BinaryIO | Path,
    name: FormName,
    give: Callable[[bytes], object],
    *,
    folder: Path | None = None,
    nice: int = 10,
) -> None:
    """Give the bytes of a form as they are made, and b"" every now and then. What `give` raises ends the program.

    Raises what `running` raises, Unsupported too.
    """
    started = last = time.monotonic()
    with (
        running(
            "api.audio.encoder", request, name, source=source, folder=folder, nice=nice, go_on=lambda: give(b"")
        ) as program,
        selectors.DefaultSelector() as selector,
    ):
        assert program.stdout is not None
        selector.register(program.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if now - last > STALL_SECONDS or now - started > LONGEST_SECONDS:
                raise AudioUndecodable("It takes too long to make this file playable.")
            data = b""
            if selector.select(TICK):
                data, last = os.read(program.stdout.fileno(), BLOCK_BYTES), now
                if not data:
                    return
            give(data)
