"""Where the sound of a stream comes from: blocks of bytes, as they come."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.live.options import StreamOptions
from parascribe.cli.live.decoding import Blocks, Said, SourceFault, decoded

QUEUED_BLOCKS = 50
"""What has come and is not sent; then a pipe is not read."""
PATIENCE_SECONDS = 60.0
"""How long an address may give no sound; it is tried again meanwhile."""
PAUSE_FIRST, PAUSE_LAST = 0.5, 5.0

PROTOCOLS = "http,https,tcp,tls,udp,rtp,srtp,rtsp,rtmp,rtmps,crypto,httpproxy"
"""What an address may lead to, playlists included: never files of this machine."""
_SILENT = ("-rw_timeout", "15000000")
"""Microseconds without a byte: then it counts as broken off."""
_RTSP = ("-rtsp_transport", "tcp", "-timeout", "15000000")
_HTTP = (
    *("-reconnect", "1", "-reconnect_streamed", "1", "-reconnect_on_network_error", "1"),
    *("-reconnect_delay_max", "10", *_SILENT),
)
BROADCAST = ("rtsp", "rtp", "flv", "live_flv", "mpegts")
"""Formats that have no duration because they have no end."""

CONTAINERS = (b"RIFF", b"RF64", b"OggS", b"fLaC", b"ID3", b"FORM", b"\x1aE\xdf\xa3", b"caff", b".snd")
"""How what is no bare samples begins, besides `ftyp` (MP4)."""

Remark = Callable[[str], None]


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
        blocks=lambda wanted: decoded([*pace, "-protocol_whitelist", "file", "-i", f"file:{path}"], wanted, str(path)),
    )


def address_source(address: str, *, remark: Remark = lambda text: None) -> Source:
    """What is broadcast at an address, opened anew when it breaks off. remark: what is said of that"""
    return Source(name=address, title=address[-255:], blocks=lambda wanted: _broadcast(address, wanted, remark))


async def _broadcast(address: str, wanted: StreamOptions, remark: Remark) -> Blocks:
    loop = asyncio.get_running_loop()
    heard, pause, lost = loop.time(), PAUSE_FIRST, False
    before: Said | None = None
    while True:
        said, why, newest = Said(), "it has broken off", ("-live_start_index", "-1")
        options = [*_options(address), *(newest if before and before.format == "hls" else ())]
        try:
            found = decoded([*options, "-protocol_whitelist", PROTOCOLS, "-i", address], wanted, address, said=said)
            async with contextlib.aclosing(found):
                async for block in found:
                    if before is not None and not said.endless:
                        return  # it is a recording by now, which would begin anew
                    heard, pause, lost = loop.time(), PAUSE_FIRST, False
                    yield block
        except SourceFault as fault:
            # a recording that breaks off would begin anew: ffmpeg itself has tried to go on where it was
            recorded = said.format and not _goes_on(said)
            if recorded or loop.time() + pause - heard > PATIENCE_SECONDS:
                raise
            why = said.why or str(fault)
        else:
            if not _goes_on(said):
                return
            if loop.time() + pause - heard > PATIENCE_SECONDS:
                raise SourceFault(f"{address}: {said.why or why}")
        before = said if said.format else before
        if not lost:
            lost = True
            remark(f"{address}: {said.why or why}; trying again for {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(pause)
        pause = min(PAUSE_LAST, 2 * pause)


def _options(address: str) -> tuple[str, ...]:
    protocol = address.lower().partition(":")[0]
    return _HTTP if protocol in ("http", "https") else _RTSP if protocol in ("rtsp", "rtsps") else _SILENT


def _goes_on(said: Said) -> bool:
    """Whether there is more to come, though it has broken off."""
    if not said.endless:
        return False
    if said.format == "hls":
        return said.is_cut_off
    return said.is_radio or said.format in BROADCAST


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
        found = decoded(["-protocol_whitelist", "pipe", "-i", "pipe:0"], wanted, "stdin", given=whole())
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
