"""Showing how far things are, on stderr: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from parascribe.screen.render import duration, size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_SECONDS = 5.0
"""Least time between two lines about one file in the same stage."""

WIDE = 80
"""Columns from which there is room for bars; below it there are figures alone."""

ROWS = 12
"""From so many files on, those that only wait have no row."""


class Reporter(Protocol):
    """A context manager. Files are known by the name they are shown under; percent is 0-100."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def expect(self, files: int) -> None:
        """So many will end."""
        ...

    def bytes(self, name: str, stage: str, done: int, total: int | None) -> None:
        """A file is `uploading` or `downloading`."""
        ...

    def step(self, name: str, stage: str, percent: float, eta: float | None = None) -> None:
        """A job has got this far; eta in seconds."""
        ...

    def end(self, name: str, words: str, *, failed: bool = False) -> None:
        """Nothing more will come about this file. words: none = nothing is said; failed: it counts in the exit code."""
        ...

    def note(self, text: str) -> None:
        """A line of its own."""
        ...


class Silent:
    """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def expect(self, files: int) -> None:
        pass

    def bytes(self, name: str, stage: str, done: int, total: int | None) -> None:
        pass

    def step(self, name: str, stage: str, percent: float, eta: float | None = None) -> None:
        pass

    def end(self, name: str, words: str, *, failed: bool = False) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class Quiet(Silent):
    """For --quiet: only what failed, a line each."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def end(self, name: str, words: str, *, failed: bool = False) -> None:
        if failed and words:
            self._write(f"{name}: {words}")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens: no reason to give up the work
            self._out.write(text + "\n")
            self._out.flush()


class Lines(Quiet):
    """For logs and pipes: a line at each change of stage and every few seconds."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._last: dict[str, tuple[str, float]] = {}

    def bytes(self, name: str, stage: str, done: int, total: int | None) -> None:
        self._line(name, stage, f"{stage} {size(done)} of {size(total)}" if total else f"{stage} {size(done)}")

    def step(self, name: str, stage: str, percent: float, eta: float | None = None) -> None:
        left = f", about {duration(eta)} left" if eta else ""
        self._line(name, stage, f"{stage} {percent:.0f} %{left}")

    def end(self, name: str, words: str, *, failed: bool = False) -> None:
        if words:
            self.note(f"{name}: {words}")

    def note(self, text: str) -> None:
        self._write(text)

    def _line(self, name: str, stage: str, words: str) -> None:
        last, when = self._last.get(name, ("", 0.0))
        now = time.monotonic()
        if stage != last or now - when >= LINE_SECONDS:
            self._last[name] = (stage, now)
            self.note(f"{name}: {words}")


class Bars(Silent):
    """For terminals: one bar per file that something is done with, and one for all of them."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.table import Column

        console = Console(file=out)
        wide = console.width >= WIDE
        # names of files are text, not markup
        name = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
        words = TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        bar: tuple[ProgressColumn, ...] = (BarColumn(bar_width=24),) if wide else ()
        self._name_width = min(40, max(8, console.width // 3))
        self._progress: Progress = Progress(
            name,
            *bar,
            TextColumn("{task.percentage:>3.0f} %", table_column=Column(no_wrap=True, min_width=5)),
            words,
            console=console,
            # while bars are up rich would take stdout too, and a pipe behind it would get nothing
            redirect_stdout=sys.stdout.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._all: TaskID | None = None
        self._files = self._ended = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def expect(self, files: int) -> None:
        self._files += files
        if files > 1 and self._all is None:
            self._all = self._progress.add_task("all files", total=None, words="")
        self._count()

    def bytes(self, name: str, stage: str, done: int, total: int | None) -> None:
        of = f" of {size(total)}" if total else ""
        self._update(name, 100.0 * done / total if total else None, f"{stage} {size(done)}{of}")

    def step(self, name: str, stage: str, percent: float, eta: float | None = None) -> None:
        self._update(name, percent, f"{stage}, about {duration(eta)} left" if eta else stage)

    def end(self, name: str, words: str, *, failed: bool = False) -> None:
        task = self._task(name)
        self._progress.remove_task(task)
        del self._tasks[name]
        self._ended += 1
        self._count()
        if words:
            self.note(f"{name}: {words}")

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            cut = len(name) > self._name_width
            shown = f"…{name[1 - self._name_width :]}" if cut else name  # the end of a path says more
            self._tasks[name] = self._progress.add_task(shown, total=100.0, words="")
        return self._tasks[name]

    def _update(self, name: str, percent: float | None, words: str) -> None:
        task = self._task(name)
        few = len(self._tasks) <= ROWS
        self._progress.update(task, completed=percent, words=words, visible=few or words != "queued")

    def _count(self) -> None:
        if self._all is not None:
            words = f"{self._ended} of {self._files}"
            self._progress.update(self._all, completed=self._ended, total=self._files, words=words)


@contextlib.contextmanager
def download_progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Shows one download; gives the function to call with (bytes here, bytes in all or None)."""
    with reporter() as report:
        yield lambda done, total: report.bytes(name, "downloading", done, total)


def reporter(*, quiet: bool = False, out: TextIO | None = None) -> Reporter:
    """The one that fits where stderr leads."""
    out = out or sys.stderr
    if quiet:
        return Quiet(out)
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    return Bars(out) if out.isatty() and not dumb else Lines(out)
