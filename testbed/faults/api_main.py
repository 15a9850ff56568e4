"""`parascribe.run.api_main` with crash points: started by the supervisor of testbed/faults/program.py."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from core.config.loading import load
from core.system import logs
from parascribe.run.api_main import serve
from testbed.faults import script

if __name__ == "__main__":
    script.fill_temp_folder()
    script.arm("api")
    settings = load()
    logs.setup(settings.log_level, settings.log_format, role="api")
    sys.exit(serve(settings, socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])))
