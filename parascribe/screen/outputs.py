"""Where transcripts go: to stdout, or to files that are named after the media they come from.

Rules, in this order:

* `-o -`: everything to stdout, one after the other (a heading `==> name <==` when there are several files).
* `-o talk.srt` (or another format's name at the end) with one media file: that file, and `-f srt` need not be said.
  If `talk.srt` is a folder, or with a slash at the end, it counts as `DIR`. `-o talk.docx` or `-o talk.srtt` is refused:
  there is no such format, and a folder of that name is `-o talk.docx/`.
* `-o DIR`: `DIR/talk.srt` for `talk.mp4`; the folder is made.
* no `-o`, one file and at most one `-f`: stdout.
* no `-o` else, or `--beside`: beside each media file; what comes from an address lies in the current folder.

Without `-f`, stdout gets lines with times and a file gets `txt`. A file that is there is overwritten, whole or not at
all; a media file never is. Where a folder is transcribed, and with `--beside`, only what we wrote ourselves and nobody has
changed since is overwritten, unless `--force` is said; `-o DIR` gets the folders of the folder. What came from stdin is called `stdin`. Two media files with one stem (`talk.mp3`, `talk.mp4`) keep their extension: `talk.mp3.srt`.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
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
        files: Sequence[Path],
        formats: Sequence[FileFormat],
        output: str | None,
        *,
        stdout: bool = True,
        check: bool = True,
        names: Mapping[Path, Path] = MappingProxyType({}),
        below: Mapping[Path, Path] = MappingProxyType({}),
    ) -> Outputs:
        """Decide once, before any work. Raises OutputError.

        stdout=False: files, whatever the rules say; check: whether they can be written, as far as can be told; names: what those count as that are no files of that name
        below: the folder inside of `-o DIR` that a file's transcripts belong in
        """
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
            check_folder(Path(output).parent)
            return Outputs(formats=(named,), targets={files[0]: ((named, Path(output)),)}, several=False)
        folder = Path(output) if output else None
        if folder and folder.exists() and not folder.is_dir():
            raise OutputError(f"-o takes a folder, and {folder} is none")
        names = {file: names.get(file) or called(file) for file in files}
        sources = {file.absolute() for file in files}

        def target(file: Path, kind: FileFormat) -> Path:
            place = folder / below.get(file, "") if folder else names[file].parent
            path = place / f"{names[file].stem}.{kind}"
            return place / f"{names[file].name}.{kind}" if file in whole or path.absolute() in sources else path

        whole: set[Path] = set()
        while True:
            targets = {file: tuple((kind, target(file, kind)) for kind in wanted) for file in names}
            counts = Counter(path for pairs in targets.values() for _, path in pairs)
            clash = {file for file, pairs in targets.items() if any(counts[path] > 1 for _, path in pairs)}
            if not clash - whole:
                break
            whole |= clash
        if clash:
            raise OutputError("two files would get transcripts of the same name; transcribe them one by one")
        for place in {path.parent for path in counts} if check else ():
            check_folder(place)
        return Outputs(formats=chosen, targets=targets, several=several)

    @property
    def wanted(self) -> frozenset[FileFormat]:
        """All formats that will be fetched."""
        if self.targets is None:
            return frozenset(self.formats or ("json",))
        return frozenset(kind for pairs in self.targets.values() for kind, _ in pairs)

    def deliver(self, file: Path, fetch: Fetch, title: str = "") -> list[Path]:
        """Write one file's transcript; returns the paths written. Raises OSError, and what `fetch` raises.

        title: what the file is called in a heading, if not by its path
        """
        if self.targets is None:
            text = (
                _text(self.formats[0], fetch, sys.stdout)
                if self.formats
                else timed_lines(cast("dict[str, Any]", fetch("json")))
            )
            sys.stdout.write((f"==> {title or printable(file)} <==\n" if self.several else "") + text)
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


def check_folder(folder: Path) -> None:
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
