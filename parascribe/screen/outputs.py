"""Where transcripts go: to stdout, or to files that are named after the media they come from.

Rules, in this order:

* `-o -`: everything to stdout, one after the other (a heading `==> name <==` when there are several files).
* `-o talk.srt` (or another format's name at the end) with one media file: that file, and `-f srt` need not be said.
  If `talk.srt` is a folder, or with a slash at the end, it counts as `DIR`. `-o talk.docx` or `-o talk.srtt` is refused:
  there is no such format, and a folder of that name is `-o talk.docx/`.
* `-o DIR`: `DIR/talk.srt` for `talk.mp4`; the folder is made.
* no `-o`, one file and at most one `-f`: stdout.
* no `-o` else: beside each media file.

Without `-f`, stdout gets lines with times and a file gets `txt`. A file that is there is overwritten, whole or not at
all; a media file never is. What came from stdin is called `stdin`. Two media files with one stem (`talk.mp3`, `talk.mp4`) keep their extension: `talk.mp3.srt`.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast, get_args

from core.transcript.formats import FileFormat
from parascribe.client.inputs import called
from parascribe.screen.render import printable, timed_lines, to_json

_EXTENSION = re.compile("[a-z][a-z0-9]{1,4}")
"""What can only be meant as a format, unlike the end of `2026.11.28` or `v1.2`."""

FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

Fetch = Callable[[FileFormat], Any]
"""Gives one file's transcript in a format: a dict for json, else text."""


class OutputError(ValueError):
    """The options do not go together."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """targets: for each media file its (format, path) pairs; None = stdout. formats: empty = lines with times."""

    formats: tuple[FileFormat, ...]
    targets: dict[Path, tuple[tuple[FileFormat, Path], ...]] | None
    several: bool

    @staticmethod
    def plan(
        files: Sequence[Path], formats: Sequence[FileFormat], output: str | None, *, stdout: bool = True
    ) -> Outputs:
        """Decide once, before any work. stdout=False: files, whatever the rules say. Raises OutputError."""
        chosen = tuple(dict.fromkeys(formats))
        several = len(files) > 1
        if stdout and (output == "-" or (output is None and not several and len(chosen) <= 1)):
            if len(chosen) > 1:
                raise OutputError("-o - takes one format")
            return Outputs(formats=chosen, targets=None, several=several)
        wanted: tuple[FileFormat, ...] = chosen or ("txt",)
        if output == "":
            raise OutputError("-o is empty: it takes a folder, a file or -")
        if output and (named := _format_of(output)):
            if several or chosen not in ((), (named,)):
                raise OutputError(f"-o {output} is one {named} file: it takes one media file, and -f {named} or none")
            if Path(output).absolute() == files[0].absolute():
                raise OutputError(f"-o {output} is the media file itself")
            _check_folder(Path(output).parent)
            return Outputs(formats=(named,), targets={files[0]: ((named, Path(output)),)}, several=False)
        folder = Path(output) if output else None
        if folder and folder.exists() and not folder.is_dir():
            raise OutputError(f"-o takes a folder, and {folder} is none")
        names = {file: called(file) for file in files}
        stems = Counter(str((folder or name.parent) / name.stem) for name in names.values())
        sources = {file.absolute() for file in files}
        targets: dict[Path, tuple[tuple[FileFormat, Path], ...]] = {}
        for file, name in names.items():
            place = (folder or name.parent) / name.stem
            twice = stems[str(place)] > 1
            pairs = []
            for kind in wanted:
                path = place.with_name(f"{name.name if twice else name.stem}.{kind}")
                pairs.append((kind, path.with_name(f"{name.name}.{kind}") if path.absolute() in sources else path))
            targets[file] = tuple(pairs)
            _check_folder(place.parent)
        if len({path for pairs in targets.values() for _, path in pairs}) < len(targets) * len(wanted):
            raise OutputError("two files would get transcripts of the same name; transcribe them one by one")
        return Outputs(formats=chosen, targets=targets, several=several)

    @property
    def wanted(self) -> frozenset[FileFormat]:
        """All formats that will be fetched."""
        if self.targets is None:
            return frozenset(self.formats or ("json",))
        return frozenset(kind for pairs in self.targets.values() for kind, _ in pairs)

    def deliver(self, file: Path, fetch: Fetch) -> list[Path]:
        """Write one file's transcript; returns the paths written. Raises OSError, and what `fetch` raises."""
        if self.targets is None:
            text = (
                _text(self.formats[0], fetch, sys.stdout)
                if self.formats
                else timed_lines(cast("dict[str, Any]", fetch("json")))
            )
            sys.stdout.write((f"==> {printable(file)} <==\n" if self.several else "") + text)
            sys.stdout.flush()
            return []
        written = []
        for kind, path in self.targets[file]:
            text = _text(kind, fetch)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(
                f".{secrets.token_hex(8)}.part"
            )  # not from its name, which may be as long as names can be
            try:
                part.write_text(text, encoding="utf-8", newline="")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            written.append(path)
        return written


def _format_of(output: str) -> FileFormat | None:
    """The format that `-o` asks for by its last part, unless that is a folder. Raises OutputError for one there is none of."""
    path = Path(output)
    kind = path.suffix.removeprefix(".").lower()
    if output.endswith("/") or path.is_dir():
        return None
    if kind in FORMATS:
        return kind
    if _EXTENSION.fullmatch(kind):
        near = difflib.get_close_matches(kind, FORMATS, n=1)
        hint = f"did you mean .{near[0]}?" if near else f"there is {', '.join(FORMATS)}."
        raise OutputError(
            f"-o {output}: transcripts have no format {kind}; {hint} A folder of that name is -o {output}/"
        )
    return None


def _check_folder(folder: Path) -> None:
    """Whether a transcript can be written there, as far as that can be told before the work. Raises OutputError."""
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise OutputError(f"{folder} is no folder: {place} is in the way")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"nothing can be written in {place}: name another place with -o")


def _text(kind: FileFormat, fetch: Fetch, out: TextIO | None = None) -> str:
    value = fetch(kind)
    return to_json(value, out) + "\n" if kind == "json" else cast(str, value)
