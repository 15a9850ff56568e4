"""An installation under test with its work: uploads, what has to come of them, and the invariants that hold of what is left."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.faults import made
from testbed.faults.installation import Installation
from testbed.faults.invariants import Accepted, Figures, check_jobs, leftovers, read_calls, too_much
from testbed.faults.servers import Servers
from testbed.faults.waiting import wait_for
from testbed.service import ENDED


class Rig(Installation):
    """Remembers what it was given to do, and checks what has come of it. Options as of `Installation`."""

    def __init__(self, folder: Path, servers: Servers | None = None, **options: Any) -> None:
        super().__init__(folder, servers, **options)
        self.accepted: list[Accepted] = []
        self._earlier: list[Accepted] = []
        self._mark = 0

    def upload(
        self,
        seconds: int = 20,
        *,
        seed: int = 1,
        compare: bool = True,
        ends: str = "completed",
        broken_off: bool = False,
        **params: Any,
    ) -> str:
        """Submit noise and remember what has to come of it; returns the job id."""
        data = made.noise(seconds, seed)
        path = self.folder / f"noise-{seconds}-{seed}.wav"
        path.write_bytes(data)
        heard = made.heard(self.folder / "calm", data) if compare else None  # before: it takes about as long as the job
        job = self.submit(path, **({"language": "en"} | params))
        self.accepted.append(
            Accepted(
                id=job["id"],
                sha256=hashlib.sha256(data).hexdigest(),
                text=heard,
                ends=frozenset(ends.split("/")),
                broken_off=broken_off,
            )
        )
        return str(job["id"])

    def midway(self, seconds: int = 100, *, chunks: int = 2, held: bool = False, **params: Any) -> str:
        """Upload, and return when so many chunks are done but not all. held: until `release`, no more of them will be."""
        self.hold(chunks)
        job_id = self.upload(seconds, **params)
        wait_for(lambda: self.store.get(job_id).chunks_done >= chunks)
        if not held:
            self.release()
        return job_id

    def ended(self, job_id: str, seconds: float = 80.0) -> Any:
        """The row, as soon as the job has ended."""
        try:
            wait_for(lambda: self.store.get(job_id).status.value in ENDED, seconds)
        except AssertionError:
            raise AssertionError(
                f"not ended within {seconds} s: {self.store.get(job_id)}\n{self.log[-6000:]}"
            ) from None
        return self.store.get(job_id)

    def check(self, *, tries: int = 1, stop: bool = True) -> Figures:
        """Wait for all accepted jobs, stop everything and hold all invariants against what is left."""
        for want in self.accepted:
            self.ended(want.id)
        big = too_much(self.family())
        if stop:
            self.stop()
        figures = check_jobs(self.store, self.objects, self.accepted, read_calls(self.calls), tries=tries)
        figures.broken += big
        if stop:
            jobs = {want.id for want in (*self._earlier, *self.accepted)}
            again = sum(
                self.store.get(job).fence - 1 for job in jobs
            )  # a process ended before each, perhaps while it stored a result
            figures.broken += leftovers(self.store, self.objects, self.work, self.accepted, kills=again)
        assert not figures.broken, "\n".join(figures.broken) + "\n" + self.log[-6000:]
        return figures

    def begin(self) -> None:
        """From here on `check` looks at new jobs only."""
        self._earlier += self.accepted
        self.accepted = []
        self._mark = self.log_file.stat().st_size

    def check_all(self) -> Figures:
        """Stop, and check all jobs since the start."""
        self.accepted = self._earlier + self.accepted
        return self.check()

    def logged(self, pattern: str, seconds: float = 30.0) -> None:
        """Wait for a line of the log that is newer than `begin`."""
        self.wait_log(pattern, since=self._mark, seconds=seconds)

    def told(self, pattern: str) -> int:
        """How often the log has said so since `begin`."""
        return len(re.findall(pattern, self.log_file.read_bytes()[self._mark :].decode("utf-8", "replace")))


@contextmanager
def rig(folder: Path, servers: Servers | None = None, **options: Any) -> Iterator[Rig]:
    """Started; whatever is still running at the end is killed."""
    made_rig = Rig(folder, servers, **options)
    try:
        yield made_rig.start()
    finally:
        made_rig.close()
