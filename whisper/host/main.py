"""The engine host: one model of one kind, read once, and the workers that share it.

    python -I -m whisper.host.main --kind whisper --file FILE --socket PATH --workers N ...

Where the kind forks, workers are forked as requests wait, up to N, and retired when idle (see `whisper.host.scaling`);
else one process has N threads. A kind says which (`whisper.wire.kind`).

Single-threaded. It never computes and never touches a payload: of each connection (one per request) it reads the
header alone, queues the connection by urgency, owner and job, and hands the connection itself to the next free worker,
the urgent first and among equals round robin over the owners and their jobs (see `whisper.host.request_queue`); where all are
busy, one stands aside for an urgent request. It keeps a duplicate of the descriptor to notice a client that
hangs up (its worker is killed and forked anew; a thread is told) and to tell the client when its worker was lost. Its
sockets never block.

Requests: {"op", "job", "owner", "label", "urgency", "timeout", "options"} with what the kind's op takes as payload;
{"op": "status"}. Errors: {"code", "message", ...} with code bad_chunk, chunk_failed, chunk_timeout,
worker_died, bad_request.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from setproctitle import setproctitle

from core.errors import EngineUnavailable, ServiceError
from core.system import pressure
from whisper.host.loop import CANNOT_START, Host
from whisper.host.scaling import Autoscaler, ScalingRule, add_arguments
from whisper.host.worker import WorkerRun
from whisper.host.worker_process import log
from whisper.kinds import load_kind
from whisper.wire.kind import SHARES_CORES, Model
from whisper.wire.process import die_with, no_core_dumps

RSS_ABOVE_WEIGHTS = 1536 * 1024 * 1024
"""A forked worker that grows past weights + 1.5 GiB is replaced: three times what the largest Whisper's state takes."""


def main() -> NoReturn:
    parser = argparse.ArgumentParser(
        prog="whisper.host.main", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kind", required=True, help="of model: a name, or module:attribute")
    parser.add_argument("--file", type=Path, required=True, action="append", help="of the model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prepared", type=json.loads, default={}, help="JSON: what the kind has found out before")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument(
        "--ready-fd", type=int, required=True, help="told in one JSON line when the host serves, or why not"
    )
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    add_arguments(parser)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--recycle-after", type=int, default=200, help="requests after which a worker is replaced")
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args()
    die_with(options.parent)
    no_core_dumps()
    os.nice(options.nice)
    kind, files = load_kind(options.kind), options.file
    setproctitle(f"parascribe {kind.name} host {files[0].name}")
    ready = os.fdopen(options.ready_fd, "w")

    def announce(said: dict[str, Any]) -> None:
        with ready:
            print(json.dumps(said), file=ready)

    load: Callable[[], Model] = partial(kind.load, files, options.device, options.prepared, debug=options.debug)
    # one process of threads is replaced when it fails, not as a precaution
    recycle_after = rss_cap = sys.maxsize
    try:
        if kind.forks:
            model = load()  # here, so that the workers share it
            load = lambda: model  # noqa: E731
            recycle_after = options.recycle_after
            rss_cap = RSS_ABOVE_WEIGHTS + sum(file.stat().st_size for file in files)
        listener = _listen(options.socket)
    except ServiceError as error:
        announce({"code": error.code, "message": error.message})
        sys.exit(CANNOT_START)
    work = WorkerRun(kind=kind, load=load, recycle_after=recycle_after, rss_cap=rss_cap)
    rule = replace(
        ScalingRule.of(options), worker_mb=kind.worker_mb(files), shares_cores=SHARES_CORES in options.prepared
    )
    about = {"model": str(files[0]), **options.prepared}
    host = Host(listener, kind, work, scaler=Autoscaler(rule, pressure.read, log), about=about, announce=announce)
    # not before: while the model is being read a signal handler of ours could not run
    signal.signal(signal.SIGTERM, lambda *_: host.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # so that a child's collector does not write to, and thereby copy, our pages
    host.run()


def _listen(path: Path) -> socket.socket:
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(128)
    except OSError as error:
        raise EngineUnavailable(f"The engine host cannot listen at {path}: {error}") from error
    return listener


if __name__ == "__main__":
    main()
