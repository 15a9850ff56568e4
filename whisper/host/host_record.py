"""What the manager knows of one model's engine host: how it is started, asked, stopped, and how often it died."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import EngineUnavailable, ModelInvalid
from whisper.wire.frames import PREFIX, FrameType, pack, unpack_json, unpack_prefix
from whisper.wire.kind import Kind, ModelRef
from whisper.wire.process import engine_environment, python_command

log = logging.getLogger(__name__)

QUICK_DEATH_SECONDS = 30.0
"""A host that lived longer than this starts with a clean record."""
BREAKER_DEATHS, BREAKER_SECONDS = 3, 30.0
"""After so many quick deaths in a row nobody starts that host for so long."""
BACKOFF_SECONDS = 0.5
START_SECONDS = 600.0
STOP_SECONDS = 1.0
STATUS_SECONDS = 2.0


@dataclass(eq=False)
class HostRecord:
    """One model's host over all its processes' lives.

    references: open connections of clients that acquired it
    in_memory: from the decision to start it until its process has ended; `process` is set while it serves,
        and `ended` is set once that process has ended and been accounted for
    deaths: quick ones in a row
    """

    model: ModelRef
    kind: Kind
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: asyncio.subprocess.Process | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    info: dict[str, str] = field(default_factory=dict)
    in_memory: bool = False
    references: int = 0
    last_used: float = field(default_factory=time.monotonic)
    started: float = 0.0
    deaths: int = 0
    retry_at: float = 0.0

    @property
    def files(self) -> list[Path]:
        return [Path(file) for file in self.model.files]

    @property
    def name(self) -> str:
        """For people."""
        return self.files[0].name

    @property
    def broken(self) -> bool:
        return self.deaths >= BREAKER_DEATHS

    async def back_off(self) -> None:
        """Wait as long as the last deaths demand. Raises EngineUnavailable (retry_after) when that is too long."""
        wait = self.retry_at - time.monotonic()
        if self.broken and wait > 0:
            raise EngineUnavailable(
                f"The engine host for {self.name} died {self.deaths} times in a row; next try in {wait:.0f} s. "
                "Its last words are in the log.",
                retry_after=round(wait, 1),
            )
        await asyncio.sleep(max(0.0, wait))

    async def launch(
        self, prepared: dict[str, str], path: Path, arguments: Sequence[str], cwd: Path
    ) -> asyncio.subprocess.Process:
        """Start a process that serves at `path`, and wait until it does. Raises EngineUnavailable, ModelInvalid.

        prepared: the kind's own (`Kind.prepare`)
        cwd: a folder that stays empty, made if missing: whatever an engine loads from its working directory is code
        """
        ready, tell = os.pipe()
        command = python_command(
            "whisper.host.main",
            "--kind",
            self.model.kind,
            *(word for file in self.model.files for word in ("--file", file)),
            "--device",
            self.model.device,
            "--prepared",
            json.dumps(prepared),
            "--socket",
            str(path),
            "--ready-fd",
            str(tell),
            "--parent",
            str(os.getpid()),
            *arguments,
        )
        self.started = time.monotonic()
        try:
            os.makedirs(
                cwd, mode=0o500, exist_ok=True
            )  # each time: what clears old temporary files away may have taken it
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[tell],
                env=engine_environment(),
                cwd=cwd,
                # not a session of its own: where the kernel groups tasks by session (autogroup, sched(7)), the idle class of
                # one host would have as large a share as another host's workers
                process_group=0,
            )
        except OSError as error:
            os.close(ready)
            raise EngineUnavailable(f"The engine host cannot be started: {error}") from error
        finally:
            os.close(tell)
        relay = asyncio.create_task(_relay(process, self.name))
        try:
            async with asyncio.timeout(START_SECONDS):
                said = await _read_line(ready)
        except TimeoutError:
            process.kill()
            said = {"message": f"The engine host for {self.name} was not ready after {START_SECONDS:.0f} s."}
        if "version" not in said:
            await process.wait()
            await relay
            if said.get("code") == ModelInvalid.code:
                raise ModelInvalid(said["message"])
            self.note_death(f"did not start (status {process.returncode})")
            raise EngineUnavailable(said.get("message") or f"The engine host for {self.name} died while starting.")
        self.info = {**prepared, "socket": str(path), "version": said["version"]}
        self.process, self.ended = process, asyncio.Event()
        return process

    async def settle(self) -> None:
        """If its process no longer listens (most likely it has just died), see it out."""
        process, ended = self.process, self.ended
        if process is None:
            return
        try:
            _, writer = await asyncio.open_unix_connection(self.info["socket"])
            writer.close()
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await ended.wait()

    def note_death(self, how: str) -> None:
        now = time.monotonic()
        self.deaths = self.deaths + 1 if now - self.started < QUICK_DEATH_SECONDS else 1
        if self.broken:
            self.retry_at = now + BREAKER_SECONDS
        elif self.deaths > 1:
            self.retry_at = now + BACKOFF_SECONDS * 2 ** (self.deaths - 1)
        log.error("engine host for %s %s (%d in a row)", self.name, how, self.deaths)

    async def stop(self) -> None:
        """End the process, which is then no death."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        self.in_memory = self.lock.locked()  # somebody may be starting it again already

    async def status(self) -> dict[str, Any] | None:
        """Its own report (see `whisper.host.loop.Host.status`), or None when it is not there to be asked."""
        if self.process is None:
            return None
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.info["socket"])
                try:
                    writer.write(pack(FrameType.REQUEST, {"op": "status"}))
                    _, length, _ = unpack_prefix(await reader.readexactly(PREFIX.size))
                    return unpack_json(await reader.readexactly(length))
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError):
            return None


async def _read_line(fd: int) -> dict[str, Any]:
    """The one JSON line a starting host says, or {} if it dies without a word. Closes the descriptor."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb")
    )
    try:
        said = json.loads(await reader.readline() or b"{}")
        return said if isinstance(said, dict) else {}
    except ValueError:
        return {}
    finally:
        transport.close()


async def _relay(process: asyncio.subprocess.Process, name: str) -> None:
    """What a host and its workers print becomes log lines (and never fills a pipe)."""
    assert process.stderr is not None
    while data := await process.stderr.read(65536):
        for line in data.decode("utf-8", "replace").splitlines():
            # libraries chatter only where debugging was asked for
            chatter = log.isEnabledFor(logging.DEBUG) and not line.startswith("whisper.host ")
            log.log(logging.DEBUG if chatter else logging.WARNING, "%s: %s", name, line)
