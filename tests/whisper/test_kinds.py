"""What the engine host promises to every kind of model, held against one that forks and one that runs threads.

Whisper's own are in test_host.py and test_client.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.errors import Cancelled, ChunkFailed, ChunkTimeout, EngineUnavailable, ModelInvalid
from tests.whisper.engine_parts import ROOT, gone, wait_for
from tests.whisper.made_kinds import MOST
from whisper.engine.host_client import HostClient
from whisper.engine.manager_process import start_manager
from whisper.kinds import KINDS, load_kind
from whisper.types import Call
from whisper.wire.kind import ModelRef

FORKED, THREADED = "tests.whisper.made_kinds:Forked", "tests.whisper.made_kinds:Threaded"
WORKERS = 3


class Made:
    """A kind's model behind a manager."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.forks = folder, kind == FORKED
        self.file = folder / f"{kind.rpartition(':')[2]}.model"
        if not self.file.exists():  # a file that is written anew is another model
            self.file.write_text("good")
        self.model = ModelRef(kind=kind, files=(str(self.file),))
        self.client = HostClient(folder / "m.sock")

    def ask(self, op: str, payload: bytes = b"", options: dict[str, Any] | None = None, **call: Any) -> Any:
        return self.client.ask(self.model, op, lambda: payload, options, Call(**call))

    def host(self) -> dict[str, Any]:
        """Once it answers its manager."""

        def found() -> dict[str, Any] | None:
            hosts = self.client.status()["hosts"]
            return next((host for host in hosts if host["model"] == str(self.file) and "workers" in host), None)

        return dict(wait_for(found, 20))

    def busy(self) -> dict[str, int]:
        """pid of the worker by the label of what it does."""
        return {worker["label"]: worker["pid"] for worker in self.host()["workers"] if "label" in worker}

    def settled(self) -> list[int]:
        """pids, once nothing is being done."""
        workers = wait_for(lambda: (w := self.host()["workers"]) and all(x["idle"] for x in w) and w, 20)
        return sorted({worker["pid"] for worker in workers})


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Of a manager that serves both."""
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        process = start_manager(Path(folder) / "m.sock", workers=WORKERS)
        yield Path(folder)
        process.terminate()
        process.wait(5)


@pytest.fixture(params=[FORKED, THREADED], ids=["forks", "threads"])
def made(folder: Path, request: pytest.FixtureRequest) -> Iterator[Made]:
    made = Made(folder, request.param)
    yield made
    made.client.close()


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """What ends a "hold" as soon as it is there."""
    return tmp_path / "go"


def test_bytes_go_in_and_come_out(made: Made) -> None:
    data = os.urandom(MOST)  # many times what a socket holds
    answer = made.ask("reverse", data)
    assert answer.payload == data[::-1]
    assert answer.host["version"] == "1" and answer.host["read_by"] == "the manager"
    assert made.ask("reverse").payload == b""


def test_a_wrong_request_is_its_own_fault_alone(made: Made) -> None:
    pids = made.ask("reverse", b"ab") and made.settled()
    for op, payload, reason, words in (
        ("reverse", bytes(MOST + 1), "bad_chunk", f"more than the {MOST}"),
        ("hold", b"x", "bad_chunk", "more than the 0"),
        ("refuse", b"", "bad_chunk", "not this"),
        ("explode", b"", "bad_request", "unknown request 'explode'"),
    ):
        with pytest.raises(ChunkFailed, match=words) as caught:
            made.ask(op, payload)
        assert caught.value.details["reason"] == reason
    assert made.settled() == pids


def test_a_worker_that_is_spent_works_no_more(made: Made) -> None:
    pids = [made.ask("spend").body["pid"] for _ in range(3)]
    assert len({*pids}) == 3 or not made.forks, "threads of one process may have taken the next before it ended"
    assert all(wait_for(lambda pid=pid: gone(pid)) for pid in pids)
    assert made.ask("reverse", b"ab").payload == b"ba"


@pytest.mark.parametrize("op", ["give up", "say too much"])
def test_a_model_that_fails_is_replaced(made: Made, op: str) -> None:
    made.ask("reverse")
    pids = made.settled()
    with pytest.raises(ChunkFailed) as caught:
        made.ask(op)
    assert caught.value.details["reason"] == "chunk_failed"
    assert made.ask("reverse", b"ab").payload == b"ba"
    assert made.settled() != pids


def test_many_at_once_are_worked_on_beside_each_other(made: Made, go: Path) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        calls = [pool.submit(made.ask, "hold", options={"until": str(go)}, label=str(n)) for n in range(WORKERS)]
        pids = wait_for(lambda: len(busy := made.busy()) == WORKERS and busy, 20)
        assert len(set(pids.values())) == (WORKERS if made.forks else 1)
        go.touch()
        assert len({call.result(20).body["thread"] for call in calls}) == WORKERS


def test_kill_9_of_a_worker_is_said_and_it_is_replaced(made: Made, go: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(made.ask, "hold", options={"until": str(go)}, label="doomed")
        os.kill(wait_for(lambda: made.busy().get("doomed"), 20), signal.SIGKILL)
        with pytest.raises(ChunkFailed, match="SIGKILL") as caught:
            call.result(20)
    assert caught.value.details == {"reason": "worker_died", "signal": 9}
    assert made.ask("reverse", b"ab").payload == b"ba"


def test_kill_9_of_a_host_costs_nobody_the_request(made: Made, go: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(made.ask, "hold", options={"until": str(go)}, label="held")
        worker = wait_for(lambda: made.busy().get("held"), 20)
        os.kill(made.host()["pid"], signal.SIGKILL)
        wait_for(lambda: gone(worker))
        go.touch()
        assert call.result(20).body


def test_who_hangs_is_ended_at_the_deadline_and_its_neighbours_are_asked_again(made: Made, go: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        neighbour = pool.submit(made.ask, "hold", options={"until": str(go)}, label="neighbour")
        wait_for(lambda: "neighbour" in made.busy(), 20)
        with pytest.raises(ChunkTimeout) as caught:
            made.ask("hang", label="stuck")
        assert caught.value.details["timeout"] == 0.3, "what the kind says, since nothing was measured"
        wait_for(lambda: "neighbour" in made.busy(), 20)
        go.touch()
        assert neighbour.result(20).body


def test_cancel_frees_the_worker(made: Made, go: Path) -> None:
    cancel = threading.Event()
    made.ask("reverse")
    before = made.settled()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(made.ask, "hold", options={"until": str(go)}, label="cancelled", cancel=cancel)
        pid = wait_for(lambda: made.busy().get("cancelled"), 20)
        cancel.set()
        with pytest.raises(Cancelled):
            call.result(20)
    if made.forks:
        wait_for(lambda: gone(pid))
    else:
        assert made.settled() == before, "the others' process lives on"


def test_a_model_that_cannot_be_read_is_the_models_fault(made: Made) -> None:
    bad = made.file.with_suffix(".bad")
    bad.write_text("bad")
    with pytest.raises(ModelInvalid, match=f"{bad.name} is not good"):
        made.client.ask(ModelRef(kind=made.model.kind, files=(str(bad),)), "reverse")
    assert made.ask("reverse", b"ab").payload == b"ba"


@pytest.mark.parametrize("kind", [FORKED, THREADED], ids=["forks", "threads"])
def test_nothing_outlives_a_killed_manager(kind: str, go: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ps") as folder, ThreadPoolExecutor(1) as pool:
        process = start_manager(Path(folder) / "m.sock", workers=WORKERS)
        made = Made(Path(folder), kind)
        call = pool.submit(made.ask, "hold", options={"until": str(go)}, label="held")
        wait_for(lambda: "held" in made.busy(), 20)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        process.kill()
        process.wait()
        wait_for(lambda: all(gone(one.pid) for one in family))
        with pytest.raises(EngineUnavailable):
            call.result(20)


def test_a_kind_is_its_name_in_one_table_and_is_read_where_it_runs() -> None:
    assert all(load_kind(name).name == name for name in KINDS)
    for unknown in ("nothing", "nowhere:Kind", "whisper.kinds:Nothing", ""):
        with pytest.raises(ValueError, match="unknown kind"):
            load_kind(unknown)
    code = "import sys, whisper.engine.host_client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {where.partition(":")[0] for where in KINDS.values()} & set(done.stdout.split())


def test_an_unknown_kind_is_said_to_be_none(made: Made) -> None:
    with pytest.raises(EngineUnavailable, match="unknown kind of model: nothing"):
        made.client.ask(ModelRef(kind="nothing", files=made.model.files), "reverse")
