"""Where the sound of a stream comes from: blocks of bytes, as they come."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.live.options import StreamOptions
from core.live.resuming import frame_bytes
from parascribe.client.errors import ClientError

BLOCKS_A_SECOND = 10
QUEUED_BLOCKS = 50
"""What has come and is not sent; then a pipe is not read."""
PATIENCE_SECONDS = 60.0
"""How long an address may give no sound; it is tried again meanwhile."""
PAUSE_FIRST, PAUSE_LAST = 0.5, 5.0

PROTOCOLS = "http,https,tcp,tls,udp,rtp,srtp,rtsp,rtmp,rtmps,crypto,httpproxy"
"""What an address may lead to, playlists included: never files of this machine."""
_HTTP = (
    *("-reconnect", "1", "-reconnect_streamed", "1", "-reconnect_on_network_error", "1"),
    *("-reconnect_delay_max", "10"),
)

CONTAINERS = (b"RIFF", b"RF64", b"OggS", b"fLaC", b"ID3", b"FORM", b"\x1aE\xdf\xa3", b"caff", b".snd")
"""How what is no bare samples begins, besides `ftyp` (MP4)."""

Blocks = AsyncGenerator[bytes, None]


class SourceFault(ClientError):
    """There is no sound to be had from there."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """name: for people. title: what its recording is called. blocks: of the encoding that the stream has; raise SourceFault"""

    name: str
    blocks: Callable[[StreamOptions], Blocks]
    title: str | None = None


def file_source(path: Path, *, fast: bool) -> Source:
    """A file, at the speed at which it plays. fast: as fast as the service takes it"""
    pace = () if fast else ("-re",)
    return Source(
        name=path.name,
        title=path.name,
        blocks=lambda wanted: _decoded([*pace, "-protocol_whitelist", "file", "-i", f"file:{path}"], wanted, str(path)),
    )


def address_source(address: str) -> Source:
    """What is broadcast at an address, opened anew when it breaks off."""
    return Source(name=address, title=address[-255:], blocks=lambda wanted: _broadcast(address, wanted))


async def _broadcast(address: str, wanted: StreamOptions) -> Blocks:
    loop, http = asyncio.get_running_loop(), address.lower().startswith("http")
    options = _HTTP if http else ("-rtsp_transport", "tcp") if address.lower().startswith("rtsp") else ()
    heard, pause, any_came = loop.time(), PAUSE_FIRST, False
    while True:
        try:
            found = _decoded([*options, "-protocol_whitelist", PROTOCOLS, "-i", address], wanted, address)
            async with contextlib.aclosing(found):
                async for block in found:
                    heard, pause, any_came = loop.time(), PAUSE_FIRST, True
                    yield block
            return
        except SourceFault:
            # a file that breaks off would begin anew: ffmpeg itself has tried to go on where it was
            if loop.time() + pause - heard > PATIENCE_SECONDS or (http and any_came):
                raise
        await asyncio.sleep(pause)
        pause = min(PAUSE_LAST, 2 * pause)


def stdin_source(*, raw: bool) -> Source:
    """Standard input. raw: as the stream's encoding says; else a container is decoded, and what is none is samples"""
    return Source(name="stdin", blocks=lambda wanted: _stdin(wanted, raw=raw))


async def _stdin(wanted: StreamOptions, *, raw: bool) -> Blocks:
    blocks = _read_in_thread(_stdin_read())
    head = b""
    while not raw and len(head) < 12 and (block := await anext(blocks, b"")):
        head += block

    async def whole() -> Blocks:
        if head:
            yield head
        async for block in blocks:
            yield block

    if not raw and (head.startswith(CONTAINERS) or head[4:8] == b"ftyp"):
        found = _decoded(["-protocol_whitelist", "pipe", "-i", "pipe:0"], wanted, "stdin", given=whole())
    else:
        found = whole()
    async with contextlib.aclosing(found):
        async for block in found:
            yield block


def _stdin_read() -> Callable[[], bytes]:
    """What comes next. Of the descriptor: a thread that waits with Python's own lock on stdin would abort the interpreter's end."""
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError):  # a stand-in
        read = getattr(sys.stdin.buffer, "read1", sys.stdin.buffer.read)
        return lambda: bytes(read(1 << 16))
    return lambda: os.read(number, 1 << 16)


async def _read_in_thread(read: Callable[[], bytes]) -> Blocks:
    """What it gives, until it gives nothing. The thread may wait for ever: nobody waits for it."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_BLOCKS)

    def run() -> None:
        block = b"more"
        while block:
            try:
                block = read()
            except (OSError, ValueError):
                block = b""
            putting = queue.put(block)
            try:
                asyncio.run_coroutine_threadsafe(putting, loop).result()
            except BaseException:  # the loop is closed: nobody listens
                putting.close()
                return

    threading.Thread(target=run, name="stdin", daemon=True).start()
    while block := await queue.get():
        yield block


def microphone_source(device: str | None = None) -> Source:
    """The microphone. device: its number or a part of its name; None: the system's own. Raises SourceFault where there is none."""
    try:
        sounds = importlib.import_module("sounddevice")
    except (ImportError, OSError) as error:
        why = "" if isinstance(error, ImportError) else f" ({error}; on Debian it is libportaudio2)"
        raise SourceFault(f"--mic needs the extra mic: pip install 'parascribe[mic]'{why}") from error
    wanted: Any = int(device) if device and device.isdigit() else device
    try:
        sounds.query_devices(wanted, "input")
    except (ValueError, sounds.PortAudioError) as error:
        raise SourceFault(f"There is no microphone here: {error}") from error
    return Source(name="microphone", blocks=lambda options: _microphone(sounds, wanted, options))


async def _microphone(sounds: Any, device: Any, wanted: StreamOptions) -> Blocks:
    kind = {"s16le": "int16", "f32le": "float32"}.get(wanted.encoding)
    if kind is None:
        raise SourceFault(f"A microphone gives s16le or f32le, no {wanted.encoding}")
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    def heard(data: Any, *_: Any) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, bytes(data))

    try:
        stream = sounds.RawInputStream(
            samplerate=wanted.sample_rate,
            channels=wanted.channels,
            dtype=kind,
            device=device,
            blocksize=wanted.sample_rate // BLOCKS_A_SECOND,
            callback=heard,
        )
    except (ValueError, sounds.PortAudioError) as error:
        raise SourceFault(f"The microphone cannot be used: {error}") from error
    with stream:
        while True:
            yield await queue.get()


async def _decoded(source: list[str], wanted: StreamOptions, what: str, *, given: Blocks | None = None) -> Blocks:
    """What ffmpeg makes of it, as the stream wants it. given: its standard input"""
    from core.audio import ffmpeg

    size = wanted.sample_rate * frame_bytes(wanted) // BLOCKS_A_SECOND
    process = await asyncio.create_subprocess_exec(
        (await asyncio.to_thread(ffmpeg.find)).path,
        *("-hide_banner", "-nostdin", "-loglevel", "error", *source, "-vn"),
        *("-ac", str(wanted.channels), "-ar", str(wanted.sample_rate), "-f", wanted.encoding, "pipe:1"),
        stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us alone
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(_last_words(process.stderr))
    feeding = asyncio.create_task(_feed(process, given)) if given is not None else None
    try:
        while block := await process.stdout.read(size):
            yield block
        code = await process.wait()
        if code:
            lines = (await said).decode(errors="replace").strip().splitlines() or [f"ffmpeg ended with {code}"]
            raise SourceFault(f"{what}: {lines[-1]}")
    finally:
        if process.returncode is None:
            process.kill()
        for task in filter(None, (feeding, said)):
            task.cancel()
        await asyncio.gather(*filter(None, (feeding, said)), return_exceptions=True)
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # asyncio leaves the pipes to the collector


async def _feed(process: asyncio.subprocess.Process, given: Blocks) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it has had enough
        async for block in given:
            process.stdin.write(block)
            await process.stdin.drain()
    process.stdin.close()


async def _last_words(stderr: asyncio.StreamReader) -> bytes:
    kept = b""
    while block := await stderr.read(4096):
        kept = (kept + block)[-4096:]
    return kept
