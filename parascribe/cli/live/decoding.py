"""Sound of files, pipes and broadcasts as ffmpeg decodes it, and what ffmpeg says of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence

from core.live.options import StreamOptions
from core.live.resuming import frame_bytes
from parascribe.client.errors import ClientError

BLOCKS_A_SECOND = 10
LINE_BYTES = 4096
MOST_FAULTS = 16
KNOWN_SECONDS = 5.0

Blocks = AsyncGenerator[bytes, None]

_LEVEL = re.compile(r"^(?:\[[^\]]* @ \S+\] )?\[(\w+)\] ")
_NO_NEWS = ("Error opening input file", "Error opening output file", "Error opening output files")
_IN_WORDS = {
    "Invalid data found when processing input": "there is no audio or video in it that can be read",
    "Output file does not contain any stream": "it has no sound",
    "Input/output error": "it cannot be read",
}


class SourceFault(ClientError):
    """There is no sound to be had from there."""


class Said:
    """What ffmpeg says: of its input, and what went wrong."""

    def __init__(self) -> None:
        #: name of the format: hls, rtsp, mp3, mov,mp4,...
        self.format = ""
        #: it has no duration
        self.endless = False
        #: it is a radio's (Icecast, Shoutcast)
        self.is_radio = False
        #: a playlist that grows can no longer be read
        self.is_cut_off = False
        self.known = asyncio.Event()
        self._faults: deque[str] = deque(maxlen=MOST_FAULTS)

    async def listen(self, stderr: asyncio.StreamReader) -> None:
        rest = b""
        while block := await stderr.read(LINE_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            rest = rest[-LINE_BYTES:]
            for line in lines:
                self._hear(line.decode(errors="replace"))
        self._hear(rest.decode(errors="replace"))
        self.known.set()

    def _hear(self, line: str) -> None:
        level = _LEVEL.match(line)
        text = line[level.end() :] if level else line
        if level and level[1] in ("error", "fatal", "panic"):
            self._faults.append(text.strip())
        elif found := re.match(r"Input #0, (.+?), from ", text):
            self.format = found[1]
        elif found := re.match(r"  Duration: (\S+?),", text):
            self.endless = found[1] == "N/A"
            self.known.set()
        elif re.match(r" +icy-\w+ +:", text):
            self.is_radio = True
        elif "Failed to reload playlist" in text:
            self.is_cut_off = True
        elif " Opening " in text:
            self.is_cut_off = False

    @property
    def why(self) -> str:
        """What went wrong, in few words; "" if nothing is known."""
        news = [fault.removeprefix("Error opening input: ") for fault in self._faults if not fault.startswith(_NO_NEWS)]
        if not news:
            return ""
        last = news[-2] if news[-1] == "Input/output error" and len(news) > 1 else news[-1]
        return "it has broken off" if last.startswith("Stream ends prematurely") else _IN_WORDS.get(last, last)


async def decoded(
    source: Sequence[str], wanted: StreamOptions, what: str, *, given: Blocks | None = None, said: Said | None = None
) -> Blocks:
    """What ffmpeg makes of it, as the stream wants it. Raises SourceFault.

    source: ffmpeg's options up to its input; given: its standard input; said: is filled, `known` before the first block
    """
    from core.audio import ffmpeg

    said = said or Said()
    size = wanted.sample_rate * frame_bytes(wanted) // BLOCKS_A_SECOND
    process = await asyncio.create_subprocess_exec(
        (await asyncio.to_thread(ffmpeg.find)).path,
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info", *source, "-vn"),
        *("-ac", str(wanted.channels), "-ar", str(wanted.sample_rate), "-f", wanted.encoding, "pipe:1"),
        stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us alone
    )
    assert process.stdout is not None
    assert process.stderr is not None
    listening = asyncio.create_task(said.listen(process.stderr))
    feeding = asyncio.create_task(_feed(process, given)) if given is not None else None
    try:
        while block := await process.stdout.read(size):
            if not said.known.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(said.known.wait(), KNOWN_SECONDS)
            yield block
        code = await process.wait()
        await listening
        if code:
            raise SourceFault(f"{what}: {said.why or f'ffmpeg ended with {code}'}")
    finally:
        if process.returncode is None:
            process.kill()
        for task in filter(None, (feeding, listening)):
            task.cancel()
        while process.returncode is None:  # it is dead at once; whoever is in a hurry leaves nothing behind either
            with contextlib.suppress(asyncio.CancelledError):
                await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # asyncio leaves the pipes to the collector
        await asyncio.gather(*filter(None, (feeding, listening)), return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, given: Blocks) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it has had enough
        async for block in given:
            process.stdin.write(block)
            await process.stdin.drain()
    process.stdin.close()
