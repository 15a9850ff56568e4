"""`parascribe.run.consumer_main` with a scripted engine: started by the supervisor of testbed/faults/program.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from testbed.faults import script


def run(arguments: Sequence[str]) -> None:
    """As of `parascribe.run.consumer_main`."""
    script.shift_wall_clock()
    script.fill_temp_folder()
    from core.config.loading import load
    from parascribe.run.consumer_main import main

    consumer, runtime, *words = arguments
    extra = "extra" in words
    if not extra:  # it looks for jobs too, and would be the one that is stopped
        script.arm("consumer")
        script.stop_at_commit()
    engine = script.engine(Path(runtime))
    main(consumer, Path(runtime), load(), poll="poll" in words, extra=extra, engine=engine)
