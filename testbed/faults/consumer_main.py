"""`parascribe.run.consumer_main` with a scripted engine: started by the supervisor of testbed/faults/program.py."""

from __future__ import annotations

import sys
from pathlib import Path

from testbed.faults import script

if __name__ == "__main__":
    script.shift_wall_clock()
    script.fill_temp_folder()
    from core.config.loading import load
    from parascribe.run.consumer_main import main

    extra = "extra" in sys.argv[3:]
    if not extra:  # it looks for jobs too, and would be the one that is stopped
        script.arm("consumer")
        script.stop_at_commit()
    runtime, poll = Path(sys.argv[2]), "poll" in sys.argv[3:]
    main(sys.argv[1], runtime, load(), poll=poll, extra=extra, engine=script.engine(runtime))
