"""The private folder of a running service, for its sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from core.errors import ServiceError
from core.system import identity

MAX_PATH = 86
"""Bytes of the folder's path: 100 (`whisper.host.manager.MAX_SOCKET_PATH`) less the longest name in it."""


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder of this process alone, removed at the end; leftovers of killed services are removed too. Raises ServiceError."""
    folder = _make()
    (folder / "owner").write_text(f"{identity.pid_space()}\n{identity.owner('')}")
    for other in folder.parent.glob("parascribe-*"):
        with contextlib.suppress(OSError, ValueError):
            space, owner = (other / "owner").read_text().split("\n")
            # containers may share a folder for temporary files, and cannot see whether the other's processes run
            if other.stat().st_uid == os.getuid() and space == identity.pid_space() and not identity.alive(owner):
                shutil.rmtree(other, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make() -> Path:
    """In TMPDIR, unless that is too long for the path of a socket or cannot be written."""
    reasons = []
    for place in (tempfile.gettempdir, lambda: "/tmp"):  # noqa: S108 (mkdtemp makes a folder of our own in it)
        try:
            folder = Path(tempfile.mkdtemp(prefix="parascribe-", dir=place()))
        except OSError as error:
            reasons.append(str(error))
            continue
        if (length := len(os.fsencode(folder))) <= MAX_PATH:
            return folder
        folder.rmdir()
        reasons.append(f"{folder.parent} makes a path of {length} bytes, and {MAX_PATH} is the most")
    raise ServiceError(
        f"There is no folder for sockets: {'; '.join(reasons)}. Set TMPDIR to a folder with a short path."
    )
