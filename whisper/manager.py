"""The engine manager: starts, shares, restarts and unloads engine hosts, one per model, for one consumer.

    python -m whisper.manager --socket PATH --workers N ...

Clients send JSON lines to its socket:

    {"op": "acquire", "model": "/abs/ggml-x.bin", "sha256": "..."}
        -> {"socket", "library", "version", "directory"}: where the model is served. The open connection is a
           reference: it keeps the host from being evicted while it is in use.
        -> {"error": {"code": "engine_unavailable" | "model_invalid", "message", "retry_after"?}}
    {"op": "status"} -> {"pid", "libraries", "hosts": [{"model", "state", "references", "pid", "workers", "queued", ...}]}

A host that has had nothing to do for --idle-seconds is unloaded even if references are open (job processes live long);
its clients find the connection refused and acquire again. At most --max-models are in memory: the least recently used
one that is not at work makes room, and where all are at work a newcomer waits, then is told to come back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from core import logs
from core.errors import EngineUnavailable, ModelInvalid, ServiceError
from whisper.frames import PREFIX, FrameType, pack, unpack_json, unpack_prefix
from whisper.libraries import Library, candidates
from whisper.process import die_with, engine_environment, no_core_dumps, python_command
from whisper.selftest import choose_library

log = logging.getLogger(__name__)

QUICK_DEATH_SECONDS = 30.0
"""A host that lived longer than this starts with a clean record."""
BREAKER_DEATHS, BREAKER_SECONDS = 3, 30.0
"""After so many quick deaths in a row nobody starts that host for so long."""
BACKOFF_SECONDS = 0.5
RESTING_SECONDS = 10.0
"""A referenced host may be evicted once it has had nothing to do for this long."""
ROOM_SECONDS = 30.0
"""How long a newcomer waits for a place in memory."""
START_SECONDS = 600.0
STOP_SECONDS = 1.0
MAX_SOCKET_PATH = 100
"""Unix sockets allow 107 bytes on Linux, 103 on macOS."""

ModelKey = tuple[str, int, int, int]
"""(path, size, mtime_ns, inode): a file that was replaced is another model, the old one serves on until it is idle."""


@dataclass(frozen=True, kw_only=True)
class ManagerConfig:
    """workers, threads: of each host; idle_seconds: 0 = never unload for idleness; nice: of hosts and workers."""

    socket: Path
    workers: int = 1
    threads: int = 1
    max_models: int = 2
    idle_seconds: float = 600.0
    library: Path | None = None
    engine_dir: Path | None = None
    nice: int = 0
    debug: bool = False


@dataclass(eq=False)
class ModelHost:
    """One model's host, over all its processes' lives. `in_memory` holds from the decision to start until it has ended."""

    model: Path
    sha256: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: asyncio.subprocess.Process | None = None
    info: dict[str, str] = field(default_factory=dict)
    in_memory: bool = False
    references: int = 0
    last_used: float = field(default_factory=time.monotonic)
    started: float = 0.0
    deaths: int = 0
    retry_at: float = 0.0


class Manager:
    """Owns the hosts. All methods run in one event loop."""

    def __init__(self, config: ManagerConfig) -> None:
        self._config = config
        self._hosts: dict[ModelKey, ModelHost] = {}
        self._room = asyncio.Lock()
        self._counter = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._folder = config.socket.parent
        self._cwd = self._folder / "empty"

    async def run(self) -> None:
        """Listen until SIGTERM."""
        if len(os.fsencode(self._folder)) + len("/h999999.sock") > MAX_SOCKET_PATH:
            raise ValueError(f"{self._folder} is too long a path for sockets")
        os.umask(0o077)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._cwd.mkdir(mode=0o500, exist_ok=True)  # an engine's working directory: whatever it loads from there is code
        for stale in self._folder.glob("h*.sock"):
            stale.unlink()
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        server = await asyncio.start_unix_server(self._client, self._config.socket)
        self._spawn(self._unload_idle())
        await stopped.wait()
        server.close()
        await asyncio.gather(*(self._stop(host) for host in list(self._hosts.values())))
        for path in (self._config.socket, *self._folder.glob("h*.sock")):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._cwd.rmdir()

    # -- clients

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline() or b"null")
            match request:
                case {"op": "acquire", "model": str(model)}:
                    await self._on_acquire(reader, writer, Path(model), str(request.get("sha256") or ""))
                case {"op": "status"}:
                    await self._reply(writer, await self.status())
                case _:
                    await self._reply(writer, _problem("internal", f"unknown request {request!r:.200}"))
        except (ValueError, OSError):  # not JSON, or gone
            pass
        finally:
            writer.close()

    async def _on_acquire(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: Path, sha256: str) -> None:
        try:
            host = self._host_of(model, sha256)
        except ModelInvalid as error:
            return await self._reply(writer, _problem(error.code, error.message))
        host.references += 1
        try:
            info = await self.acquire(host)
            await self._reply(writer, info)
            while await reader.read(1024):
                pass
        except ServiceError as error:
            await self._reply(writer, _problem(error.code, error.message, **error.details))
        finally:
            host.references -= 1
            host.last_used = time.monotonic()

    async def _reply(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        writer.write(json.dumps(body).encode() + b"\n")
        await writer.drain()

    def _host_of(self, model: Path, sha256: str) -> ModelHost:
        try:
            stat = model.stat()
        except OSError as error:
            raise ModelInvalid(f"The model's file cannot be read: {error}") from error
        key = (str(model), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        return self._hosts.setdefault(key, ModelHost(model, sha256))

    # -- hosts

    async def acquire(self, host: ModelHost) -> dict[str, str]:
        """Where the host serves; starts it if need be. Raises EngineUnavailable (with retry_after), ModelInvalid."""
        async with host.lock:
            host.last_used = time.monotonic()
            if host.process is None:
                await self._start(host)
            return host.info

    async def _start(self, host: ModelHost) -> None:
        wait = host.retry_at - time.monotonic()
        if host.deaths >= BREAKER_DEATHS and wait > 0:
            raise EngineUnavailable(
                f"The engine host for {host.model.name} died {host.deaths} times in a row; next try in {wait:.0f} s. "
                "Its last words are in the log.", retry_after=round(wait, 1),
            )  # fmt: skip
        await asyncio.sleep(max(0.0, wait))
        await self._make_room(host)
        try:
            found = candidates(self._config.library, self._config.engine_dir)
            library = await asyncio.to_thread(
                choose_library, found, host.model, self._config.engine_dir, model_sha256=host.sha256
            )
            await self._launch(host, library)
        finally:
            host.in_memory = host.process is not None

    async def _launch(self, host: ModelHost, library: Library) -> None:
        self._counter += 1
        path, config = self._folder / f"h{self._counter}.sock", self._config
        ready, tell = os.pipe()
        command = python_command(
            "whisper.host", "--library", str(library.directory), "--model", str(host.model), "--socket", str(path),
            "--ready-fd", str(tell), "--parent", str(os.getpid()), "--workers", str(config.workers),
            "--threads", str(config.threads), "--nice", str(config.nice), *(["--debug"] if config.debug else []),
        )  # fmt: skip
        host.started = time.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                pass_fds=[tell], env=engine_environment(), cwd=self._cwd, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            os.close(ready)
            raise EngineUnavailable(f"The engine host cannot be started: {error}") from error
        finally:
            os.close(tell)
        self._spawn(_relay(process, host.model.name))
        try:
            async with asyncio.timeout(START_SECONDS):
                said = await _read_line(ready)
        except TimeoutError:
            process.kill()
            said = {"message": f"The engine host for {host.model.name} was not ready after {START_SECONDS:.0f} s."}
        if "version" not in said:
            await process.wait()
            if said.get("code") == ModelInvalid.code:
                raise ModelInvalid(said["message"])
            self._note_death(host, f"did not start (status {process.returncode})")
            raise EngineUnavailable(said.get("message") or f"The engine host for {host.model.name} died while starting.")
        host.info = {"socket": str(path), "library": library.kind, "version": said["version"], "directory": str(library.directory)}
        host.process = process
        log.info(
            "engine host %d serves %s with the %s library %s, %d workers x %d threads (%.1f s to start)", process.pid,
            host.model.name, library.kind, said["version"], config.workers, config.threads, time.monotonic() - host.started,
        )  # fmt: skip
        self._spawn(self._watch(host, process, path))

    async def _watch(self, host: ModelHost, process: asyncio.subprocess.Process, path: Path) -> None:
        status = await process.wait()
        path.unlink(missing_ok=True)
        if host.process is not process:  # stopped on purpose
            return
        host.process, host.in_memory = None, False
        self._note_death(host, f"ended with status {status}")
        if host.references and host.deaths < BREAKER_DEATHS:
            with contextlib.suppress(ServiceError):  # its clients will ask, and be told
                await self.acquire(host)

    def _note_death(self, host: ModelHost, how: str) -> None:
        now = time.monotonic()
        host.deaths = host.deaths + 1 if now - host.started < QUICK_DEATH_SECONDS else 1
        open_ = host.deaths >= BREAKER_DEATHS
        host.retry_at = now + (BREAKER_SECONDS if open_ else BACKOFF_SECONDS * 2 ** (host.deaths - 1) if host.deaths > 1 else 0.0)
        log.error("engine host for %s %s (%d in a row)", host.model.name, how, host.deaths)

    async def _make_room(self, newcomer: ModelHost) -> None:
        """Take a place among `max_models`, evicting the least recently used host that is not at work."""
        deadline = time.monotonic() + ROOM_SECONDS
        async with self._room:
            while True:
                others = [h for h in self._hosts.values() if h.in_memory and h is not newcomer]
                if len(others) < self._config.max_models:
                    newcomer.in_memory = True
                    return
                for host in sorted(others, key=lambda h: h.last_used):
                    resting = await self._idle_seconds(host)
                    if resting is not None and (resting >= RESTING_SECONDS or not host.references):
                        log.info("unloading %s to make room for %s", host.model.name, newcomer.model.name)
                        await self._stop(host)
                        break
                else:
                    if time.monotonic() > deadline:
                        raise EngineUnavailable(
                            f"All {self._config.max_models} models that may be in memory (MAX_LOADED_MODELS) are at work.",
                            retry_after=15.0,
                        )
                    await asyncio.sleep(0.25)

    async def _unload_idle(self) -> None:
        limit = self._config.idle_seconds
        while limit:
            await asyncio.sleep(min(5.0, limit / 4))
            for host in list(self._hosts.values()):
                resting = await self._idle_seconds(host)
                if resting is not None and min(resting, time.monotonic() - host.last_used) >= limit:
                    log.info("unloading %s: nothing to do for %.0f s", host.model.name, resting)
                    await self._stop(host)
            for key in [k for k, h in self._hosts.items() if not (h.in_memory or h.references or h.lock.locked() or h.deaths)]:
                del self._hosts[key]

    async def _idle_seconds(self, host: ModelHost) -> float | None:
        """How long it has had nothing to do; 0 while at work, None when it is not there to be asked."""
        status = await self._host_status(host)
        return None if status is None else float(status["idle_seconds"])

    async def _stop(self, host: ModelHost) -> None:
        process, host.process = host.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        host.in_memory = host.lock.locked()  # somebody may be starting it again already

    # -- reports

    async def status(self) -> dict[str, Any]:
        """What runs, for `doctor`, tests and logs."""
        found = candidates(self._config.library, self._config.engine_dir)
        hosts = []
        for host in list(self._hosts.values()):
            own = await self._host_status(host) or {}
            state = "serving" if own else "starting" if host.in_memory else "down"
            if host.deaths >= BREAKER_DEATHS and not own:
                state = "broken"
            about = {"model": str(host.model), "state": state, "references": host.references, "deaths": host.deaths}
            hosts.append({**own, **(host.info if own else {}), **about})
        libraries = [{"kind": x.kind, "directory": str(x.directory), "version": x.version} for x in found]
        return {"pid": os.getpid(), "libraries": libraries, "hosts": hosts}

    async def _host_status(self, host: ModelHost) -> dict[str, Any] | None:
        if host.process is None:
            return None
        try:
            async with asyncio.timeout(2.0):
                reader, writer = await asyncio.open_unix_connection(host.info["socket"])
                try:
                    writer.write(pack(FrameType.REQUEST, {"op": "status"}))
                    _, length, _ = unpack_prefix(await reader.readexactly(PREFIX.size))
                    return unpack_json(await reader.readexactly(length))
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError):
            return None

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _problem(code: str, message: str, **details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **details}}


async def _read_line(fd: int) -> dict[str, Any]:
    """The one JSON line a starting host says, or {} if it dies without a word. Closes the descriptor."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb"))
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
            log.warning("%s: %s", name, line)


def main() -> None:
    parser = argparse.ArgumentParser(prog="whisper.manager", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--socket", type=Path, required=True, help="where to listen; the hosts' sockets lie beside it")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-models", type=int, default=2)
    parser.add_argument("--idle-seconds", type=float, default=600.0)
    parser.add_argument("--library", type=Path, help="WHISPER_LIBRARY")
    parser.add_argument("--engine-dir", type=Path, help="own engine build and self-test verdicts")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--log-format", default="text")
    parser.add_argument("--parent", type=int, help="process to die with")
    options = parser.parse_args()
    if options.parent:
        die_with(options.parent)
    no_core_dumps()
    setproctitle("parascribe whisper manager")
    logs.setup(options.log_level, options.log_format, role="engine")
    config = ManagerConfig(
        socket=options.socket, workers=options.workers, threads=options.threads, max_models=options.max_models,
        idle_seconds=options.idle_seconds, library=options.library, engine_dir=options.engine_dir, nice=options.nice,
        debug=log.isEnabledFor(logging.DEBUG),
    )  # fmt: skip
    try:
        asyncio.run(_main(config))
    except (ValueError, OSError) as error:
        sys.exit(f"the engine manager cannot start: {error}")


async def _main(config: ManagerConfig) -> None:
    await Manager(config).run()
    sys.stderr.flush()
    os._exit(0)  # now: a self-test may still run in a thread, and dies with us


if __name__ == "__main__":
    main()
