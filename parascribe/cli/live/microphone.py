"""A microphone as a source, by PortAudio (`sounddevice`, extra `mic`)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import Any

from core.live.options import StreamOptions
from parascribe.cli.live.decoding import BLOCKS_A_SECOND, Blocks, SourceFault
from parascribe.cli.live.sources import Source

QUIET_SECONDS = 10.0
"""A microphone gives samples, of silence too; one that gives none for so long is gone."""

MOST_SECONDS = 60
"""Heard and not taken by the stream; then it is said that it cannot go on."""


def microphone_source(device: str | None = None) -> Source:
    """The microphone. device: its number or a part of its name; None: the system's own. Raises SourceFault where there is none."""
    try:
        sounds = importlib.import_module("sounddevice")
    except ImportError as error:
        raise SourceFault("--mic needs the extra mic: pip install 'parascribe[mic]'") from error
    except OSError as error:
        raise SourceFault(f"--mic needs PortAudio ({error}); on Debian: apt install libportaudio2") from error
    wanted: Any = int(device) if device and device.isdigit() else device
    try:
        sounds.query_devices(wanted, "input")
    except (ValueError, sounds.PortAudioError) as error:
        which = f"no microphone {device!r}" if device else "no microphone"
        raise SourceFault(f"There is {which} here: {error}. What there is: python -m sounddevice") from error
    return Source(name="microphone", blocks=lambda options: _heard(sounds, wanted, options))


async def _heard(sounds: Any, device: Any, wanted: StreamOptions) -> Blocks:
    kind = {"s16le": "int16", "f32le": "float32"}.get(wanted.encoding)
    if kind is None:
        raise SourceFault(f"A microphone gives s16le or f32le, no {wanted.encoding}")
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_SECONDS * BLOCKS_A_SECOND)
    full = False

    def put(block: bytes | None) -> None:
        nonlocal full
        try:
            queue.put_nowait(block)
        except asyncio.QueueFull:
            full = True

    def tell(block: bytes | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            loop.call_soon_threadsafe(put, block)

    try:
        stream = sounds.RawInputStream(
            samplerate=wanted.sample_rate,
            channels=wanted.channels,
            dtype=kind,
            device=device,
            blocksize=wanted.sample_rate // BLOCKS_A_SECOND,
            callback=lambda data, *_: tell(bytes(data)),
            finished_callback=lambda: tell(None),
        )
    except (ValueError, sounds.PortAudioError) as error:
        hint = " Another --sample-rate (48000) or --channels may do." if "nvalid" in str(error) else ""
        raise SourceFault(f"The microphone cannot be used: {error}.{hint}") from error
    with stream:
        while True:
            try:
                block = await asyncio.wait_for(queue.get(), QUIET_SECONDS)
            except TimeoutError:
                raise SourceFault(f"The microphone has given nothing for {QUIET_SECONDS:g} s") from None
            if block is None:
                raise SourceFault("The microphone is gone")
            if full:
                raise SourceFault(f"For {MOST_SECONDS} s nobody has taken what the microphone hears")
            yield block
