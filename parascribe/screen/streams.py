"""A command's standard streams: they are there, take any text, and what they do not take is said in a line."""

from __future__ import annotations

import io
import os
import sys

CLOSED = "was closed by the program it leads to"


def prepare() -> None:
    """Put something in the place of streams that this process was started without; have stdout show `?` for what it cannot.

    A stdout that was closed gets a file that cannot be written: a transcript must not vanish silently.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would be taken for the stream, here and in children
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def flush() -> str | None:
    """Write out what is left; the reason where that cannot be done, and then nothing is left either."""
    reason = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if stream is sys.stdout:
                reason = CLOSED if isinstance(error, BrokenPipeError) else f"cannot be written: {error.strerror}"
            void = os.open(os.devnull, os.O_WRONLY)  # the interpreter flushes once more when it ends
            os.dup2(void, stream.fileno())
            os.close(void)
    return reason
