"""Setting variables in a `.env` file without touching the rest of it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from core.errors import DiskFull, ServiceError


def with_settings(text: str, values: Mapping[str, object]) -> str:
    """A `.env` file's text with these variables set: their lines replaced, else added at the end; all else as it was."""
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    for name, value in values.items():
        own = re.compile(rf"\s*(export\s+)?{re.escape(name)}\s*=", re.IGNORECASE)
        places = [number for number, line in enumerate(lines) if own.match(line)]
        if not places:
            if lines and not lines[-1].endswith(("\n", "\r")):
                lines[-1] += ending
            places = [len(lines)]
            lines.append("")
        for place in places:
            lines[place] = f"{name}={value}{ending}"
    return "".join(lines)


def write_settings(path: Path, values: Mapping[str, object]) -> None:
    """`with_settings` on a file, which may be missing: replaced in one step, permissions kept. Raises DiskFull, ServiceError."""
    path = path.resolve()  # a link stays one
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(fresh.unlink, missing_ok=True)
            before = path.stat() if path.exists() else None
            text = path.read_bytes().decode("utf-8", "surrogateescape") if before else ""
            with os.fdopen(
                os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if before else 0o666), "wb"
            ) as file:
                if before:  # it may hold secrets, and be read by another user's service
                    os.fchmod(file.fileno(), before.st_mode & 0o7777)
                    with contextlib.suppress(PermissionError):
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                file.write(with_settings(text, values).encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"There is no space left for {path}.") from error
        raise ServiceError(f"{path} cannot be written: {error.strerror}") from error
