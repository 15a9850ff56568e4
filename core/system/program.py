"""Starting a program quickly: `python -m core.system.program MODULE ARGUMENTS` imports it and calls its `run`."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def uncollected() -> Iterator[None]:
    """While a program imports what it is made of. That stays, so nobody need look for garbage among it: a quarter of the
    API's imports went there. What the collector never looks at, processes that are forked later do not copy (`gc.freeze`).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    with uncollected():
        program = import_module(sys.argv[1])
    sys.exit(program.run(sys.argv[2:]))
