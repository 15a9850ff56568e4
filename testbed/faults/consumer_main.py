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

    script.arm("consumer")
    script.stop_at_commit()
    main(sys.argv[1], Path(sys.argv[2]), load(), poll="poll" in sys.argv[3:], engine=script.engine(Path(sys.argv[2])))
