"""What one `parascribe transcribe` is to do: which files, which transcripts, and what of it is done already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from parascribe.cli.items import Item, deliver_to, keep, still_to_write
from parascribe.cli.journal import FileRequest, Journal
from parascribe.client.bodies import Look, Params
from parascribe.screen.outputs import Fetch, Outputs
from parascribe.screen.progress import Reporter


@dataclass(kw_only=True)
class TranscribeRun:
    """outputs: None = transcripts are kept in the items; careful: what is done is left, and so is what others wrote."""

    items: list[Item]
    outputs: Outputs | None
    params: Params
    look: Look
    careful: bool = False
    force: bool = False
    deliver: Callable[[Item, Fetch], None] = keep
    _journal: Journal | None = field(default=None, init=False)

    def prepare(self, journal: Journal | None, service: str, report: Reporter) -> list[Item]:
        """What is still to be done. service: its address. Raises JournalFault."""
        self._journal = journal
        for item in self.items if journal else ():
            item.request = request_of(item, self.params, self.look, service, kept=self.careful)
        if self.outputs and journal and self.careful:
            self.outputs = still_to_write(self.outputs, self.items, journal, force=self.force)
        if self.outputs:
            self.deliver = deliver_to(self.outputs, journal)
        done = 0
        for item in self.items:
            if item.others:
                names = ", ".join(path.name for path in item.others)
                report.note(f"{item.name}: {names} was not written by us, and stays (--force overwrites)")
            elif item.status == "skipped":
                done += 1
        if done:
            report.note(f"{done} of {len(self.items)} files were done before.")
        todo = [item for item in self.items if item.status != "skipped"]
        report.expect(len(todo))
        return todo

    def note(self, item: Item) -> None:
        """It has ended. What came to nothing is tried again by the next run, from where it is. Raises JournalFault."""
        if not self._journal or not item.request or item.error:
            return
        if self.careful and self.outputs and self.outputs.targets:
            self._journal.done(item.request, [kind for kind, _ in self.outputs.targets[item.file]])
        else:
            self._journal.forget(item.request)


def request_of(item: Item, params: Params, look: Look, service: str, *, kept: bool) -> FileRequest | None:
    """None for what is no file that stays, such as a pipe."""
    try:
        if not item.url and not item.file.is_file():
            return None
        return FileRequest.of(item.url or item.file, params, look, service=service, kept=kept)
    except OSError:  # whoever opens it says so
        return None
