"""The engine host: one model's weights, read once and shared by forked workers.

    python -I -m whisper.host.main --library DIR --model FILE --socket PATH --workers N ...

Workers are forked as chunks wait, up to N, and retired when idle (see `whisper.host.pool`).

Single-threaded. It never decodes and never touches audio: of each connection (one per chunk) it reads the request's
header alone, queues the connection by job, and hands the connection itself to the next free worker, round robin
over the jobs. It keeps a duplicate of the descriptor to notice a client that hangs up (its worker is killed and forked anew)
and to tell the client when its worker was lost. Its sockets never block.

Requests: {"op": "transcribe" | "detect", "job", "label", "timeout", "options"} with f32le PCM as payload;
{"op": "ping"}; {"op": "status"}. Errors: {"code", "message", ...} with code bad_chunk, chunk_failed, chunk_timeout,
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
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NoReturn

from setproctitle import setproctitle

from core.system import pressure
from whisper.host.loop import Host, log
from whisper.host.pool import Pool, PoolRule, add_arguments
from whisper.host.worker import serve
from whisper.library.alignment import alignment_of
from whisper.library.inference import Inference
from whisper.library.libwhisper import LibraryUnusable, LibWhisper
from whisper.wire.process import die_with, no_core_dumps

RSS_ABOVE_WEIGHTS = 1536 * 1024 * 1024
"""A worker that grows past weights + 1.5 GiB is replaced: three times what the largest model's state takes."""


def main() -> NoReturn:
    parser = argparse.ArgumentParser(
        prog="whisper.host.main", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--library", type=Path, required=True, help="directory of libwhisper")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument(
        "--ready-fd", type=int, required=True, help="told in one JSON line when the host serves, or why not"
    )
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    add_arguments(parser)
    parser.add_argument("--worker-mb", type=int, default=0, help="memory one takes for itself; 0: not looked at")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--recycle-after", type=int, default=200, help="chunks after which a worker is replaced")
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args()
    die_with(options.parent)
    no_core_dumps()
    os.nice(options.nice)
    name = options.model.stem.removeprefix("ggml-")
    setproctitle(f"parascribe whisper host {name}")
    with os.fdopen(options.ready_fd, "w") as ready:
        try:
            lib = LibWhisper(options.library, debug=options.debug)
            context = lib.load_model(options.model)
            alignment = alignment_of(lib, context, name=name)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(options.socket))
            listener.listen(128)
        except (LibraryUnusable, ValueError, OSError) as error:
            code = "model_invalid" if type(error) is ValueError else "engine_unavailable"
            print(json.dumps({"code": code, "message": str(error)}), file=ready)
            sys.exit(3)
        rss_cap = options.model.stat().st_size + RSS_ABOVE_WEIGHTS
        about = {"model": str(options.model), "library": str(options.library), "version": lib.version}

        @cache
        def inference(threads: int) -> Inference:
            return Inference(lib, context, threads=threads, alignment=alignment)

        inference(options.threads)  # here, so that the workers share it
        rule = replace(PoolRule.of(options), worker_mb=options.worker_mb)
        host = Host(
            listener,
            lambda control: serve(control, inference, recycle_after=options.recycle_after, rss_cap=rss_cap),
            pool=Pool(rule, pressure.read, log),
            about=about,
        )
        # not before: while the model is being read a signal handler of ours could not run
        signal.signal(signal.SIGTERM, lambda *_: host.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(json.dumps({"version": lib.version}), file=ready)
    gc.collect()
    gc.freeze()  # so that a child's collector does not write to, and thereby copy, our pages
    host.run()


if __name__ == "__main__":
    main()
