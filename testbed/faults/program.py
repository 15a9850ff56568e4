"""The service's own commands, with the test programs as their children: `python -m testbed.faults.program serve|consumer|api`."""

from __future__ import annotations

import sys

from testbed.faults import script

if __name__ == "__main__":
    part = sys.argv[1]
    if part != "api":
        script.shift_wall_clock()
    script.fill_temp_folder()
    from core.config.loading import load
    from parascribe.run import services

    script.arm("api" if part == "api" else "supervisor", again=part == "api")
    if part == "api":
        sys.exit(services.run_api(load()))
    run = services.run_serve if part == "serve" else services.run_consumer
    sys.exit(run(load(), programs="testbed.faults"))
