"""The engine manager: starts, shares, restarts and unloads engine hosts, one per model and device, for one consumer.

    python -m whisper.host.manager --socket PATH --workers N ...

Clients send JSON lines to its socket:

    {"op": "acquire", "kind": "whisper", "files": ["/abs/ggml-x.bin"], "device": "cpu"}
        -> {"socket", "version", ...}: where the model is served, and what the kind says of it. The open connection is
           a reference: it keeps the host from being evicted while it is in use.
        -> {"error": {"code": "engine_unavailable" | "model_invalid", "message", "retry_after"?}}
    {"op": "status"} -> {"pid", "restarts": {model: deaths of its hosts}, "hosts": [{"kind", "model", "device", "state", "references", "pid", "workers", "queued", ...}]}

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from core.errors import EngineUnavailable, ModelInvalid, ServiceError
from core.system import logs
from whisper.host.host_record import HostRecord
from whisper.host.scaling import ScalingRule, add_arguments
from whisper.kinds import load_kind
from whisper.wire.kind import ModelRef, Setup
from whisper.wire.process import die_with, no_core_dumps

log = logging.getLogger(__name__)

RESTING_SECONDS = 10.0
"""A referenced host may be evicted once it has had nothing to do for this long."""
ROOM_SECONDS = 30.0
"""How long a newcomer waits for a place in memory."""
MAX_SOCKET_PATH = 100
"""Unix sockets allow 107 bytes on Linux, 103 on macOS."""

HostKey = tuple[ModelRef, tuple[tuple[int, int, int], ...]]
"""With each file's (size, mtime_ns, inode): one that was replaced is another model, the old one serves on until it is idle."""


@dataclass(frozen=True, kw_only=True)
class ManagerConfig:
    """scaling: of each host; idle_seconds: 0 = never unload for idleness; nice: of hosts and workers."""

    socket: Path
    scaling: ScalingRule
    setup: Setup
    max_models: int = 2
    idle_seconds: float = 600.0
    nice: int = 0
    debug: bool = False


class Manager:
    """Owns the hosts. All methods run in one event loop."""

    def __init__(self, config: ManagerConfig) -> None:
        self._config = config
        self._hosts: dict[HostKey, HostRecord] = {}
        self._restarts: dict[str, int] = {}
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
        await asyncio.gather(*(host.stop() for host in list(self._hosts.values())))
        for path in (self._config.socket, *self._folder.glob("h*.sock")):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._cwd.rmdir()

    # -- clients

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline() or b"null")
            match request:
                case {"op": "acquire", "kind": str(kind), "files": [str(), *_] as files, "device": str(device)}:
                    model = ModelRef(kind=kind, files=tuple(map(str, files)), device=device)
                    await self._on_acquire(reader, writer, model)
                case {"op": "status"}:
                    await self._reply(writer, await self.status())
                case _:
                    await self._reply(writer, _problem("internal", f"unknown request {request!r:.200}"))
        except (ValueError, OSError):  # not JSON, or gone
            pass
        finally:
            writer.close()

    async def _on_acquire(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: ModelRef) -> None:
        try:
            host = self._host_of(model)
        except ServiceError as error:
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
            self._prune()

    async def _reply(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        writer.write(json.dumps(body).encode() + b"\n")
        await writer.drain()

    def _host_of(self, model: ModelRef) -> HostRecord:
        try:
            found = [os.stat(file) for file in model.files]
        except OSError as error:
            raise ModelInvalid(f"The model's file cannot be read: {error}") from error
        key = model, tuple((stat.st_size, stat.st_mtime_ns, stat.st_ino) for stat in found)
        if key not in self._hosts:
            try:
                self._hosts[key] = HostRecord(model, load_kind(model.kind))
            except ValueError as error:
                raise EngineUnavailable(f"The engine manager cannot serve this: {error}.") from error
        return self._hosts[key]

    # -- hosts

    async def acquire(self, host: HostRecord) -> dict[str, str]:
        """Where the host serves; starts it if need be. Raises EngineUnavailable (with retry_after), ModelInvalid."""
        async with host.lock:
            host.last_used = time.monotonic()
            await host.settle()
            if host.process is None:
                await self._start(host)
            return host.info

    async def _start(self, host: HostRecord) -> None:
        await host.back_off()
        await self._make_room(host)
        try:
            prepared = await asyncio.to_thread(host.kind.prepare, host.files, self._config.setup)
            await self._launch(host, prepared)
        finally:
            host.in_memory = host.process is not None

    async def _launch(self, host: HostRecord, prepared: dict[str, str]) -> None:
        self._counter += 1
        path, config = self._folder / f"h{self._counter}.sock", self._config
        arguments = [*config.scaling.arguments(), "--nice", str(config.nice), *(["--debug"] if config.debug else [])]
        process = await host.launch(prepared, path, arguments, self._cwd)
        rule = replace(config.scaling, worker_mb=host.kind.worker_mb(host.files))
        log.info(
            "engine host %d serves %s with the %s library %s (%.1f s to start), %d threads per worker; %s",
            process.pid,
            host.name,
            host.info.get("library", host.kind.name),
            host.info["version"],
            time.monotonic() - host.started,
            rule.threads,
            "; ".join(rule.words()) if host.kind.forks else f"{rule.in_one_process} threads in one process",
        )
        self._spawn(self._watch(host, process, host.ended, path))

    async def _watch(
        self, host: HostRecord, process: asyncio.subprocess.Process, ended: asyncio.Event, path: Path
    ) -> None:
        status = await process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        died = host.process is process  # else it was stopped on purpose
        if died:
            host.process, host.in_memory = None, False
            host.note_death(f"ended with status {status}")
            model = host.files[0].stem.removeprefix("ggml-")
            self._restarts[model] = self._restarts.get(model, 0) + 1
        ended.set()
        if died and host.references and not host.broken:
            with contextlib.suppress(ServiceError):  # its clients will ask, and be told
                await self.acquire(host)

    async def _make_room(self, newcomer: HostRecord) -> None:
        """Take a place among `max_models` of its kind, evicting the least recently used host that is not at work."""
        deadline = time.monotonic() + ROOM_SECONDS
        async with self._room:
            while True:
                alike = (h for h in self._hosts.values() if h.model.kind == newcomer.model.kind)
                others = [h for h in alike if h.in_memory and h is not newcomer]
                if len(others) < self._config.max_models:
                    newcomer.in_memory = True
                    return
                for host in sorted(others, key=lambda h: h.last_used):
                    status = await host.status() or {"idle_seconds": 0.0}
                    resting = status["idle_seconds"]
                    if resting >= RESTING_SECONDS or (resting and not host.references):
                        log.info("unloading %s to make room for %s", host.name, newcomer.name)
                        await host.stop()
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
                status = await host.status() or {"idle_seconds": 0.0}
                resting = status["idle_seconds"]
                if min(resting, time.monotonic() - host.last_used) >= limit:
                    log.info("unloading %s: nothing to do for %.0f s", host.name, resting)
                    await host.stop()
            self._prune()

    def _prune(self) -> None:
        """Forget models that nobody asks for and that have no record of trouble."""
        kept = {k: h for k, h in self._hosts.items() if h.in_memory or h.references or h.lock.locked() or h.deaths}
        self._hosts = kept

    # -- reports

    async def status(self) -> dict[str, Any]:
        """What runs, for `doctor`, tests and logs."""
        hosts = []
        for host in list(self._hosts.values()):
            own = await host.status() or {}
            state = "serving" if own else "starting" if host.lock.locked() else "down"
            if host.broken and not own:
                state = "broken"
            about = {"kind": host.model.kind, "model": host.model.files[0], "device": host.model.device}
            counts = {"state": state, "references": host.references, "deaths": host.deaths}
            hosts.append({**own, **(host.info if own else {}), **about, **counts})
        return {"pid": os.getpid(), "restarts": dict(self._restarts), "hosts": hosts}

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _problem(code: str, message: str, **details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **details}}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="whisper.host.manager", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--socket", type=Path, required=True, help="where to listen; the hosts' sockets lie beside it")
    add_arguments(parser)
    parser.add_argument("--max-loaded-models", type=int, default=2)
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
        socket=options.socket,
        scaling=ScalingRule.of(options),
        setup=Setup(library=options.library, engine_dir=options.engine_dir),
        max_models=options.max_loaded_models,
        idle_seconds=options.idle_seconds,
        nice=options.nice,
        debug=log.isEnabledFor(logging.DEBUG),
    )
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
