"""`parascribe.run.api_main` with crash points: started by the supervisor of testbed/faults/program.py."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from core.config.loading import load
from core.system import logs
from parascribe.run.api_main import serve
from testbed.faults import script


def run(arguments: Sequence[str]) -> int:
    """As of `parascribe.run.api_main`."""
    script.fill_temp_folder()
    script.arm("api", again=True)
    settings = load()
    logs.setup(settings.log_level, settings.log_format, role="api")
    return serve(settings, socket.socket(fileno=int(arguments[0])), Path(arguments[1]))
