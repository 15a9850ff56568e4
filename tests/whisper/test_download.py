from __future__ import annotations

import io
import logging
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.errors import Cancelled, DiskFull, ModelInvalid, ModelUnavailable
from core.objects.memory import MemoryObjects
from core.objects.store import ObjectStore
from tests.whisper.bad_server import black_hole
from tests.whisper.model_server import CATALOGUE, INFO, QUANTISED, model_server
from whisper.download.downloader import ModelDownloader
from whisper.download.sources import AddressSource, BucketSource, ModelSource, http_client
from whisper.models.store import ModelStore


def downloader(
    folder: Path,
    *urls: str,
    idle: float = 5.0,
    pauses: Sequence[float] = (0.0, 0.0),
    bucket: ObjectStore | None = None,
    **more: Any,
) -> ModelDownloader:
    store = ModelStore(folder, folder / "none", catalogue=CATALOGUE)
    client = partial(http_client, connect=1.0, idle=idle)
    sources: list[ModelSource] = [AddressSource("mirror", url, client=client, pauses=pauses) for url in urls]
    return ModelDownloader(store, ([BucketSource(bucket)] if bucket else []) + sources, **more)


def fetched(folder: Path) -> bool:
    path = folder / INFO.filename
    return path.is_file() and path.read_bytes() == QUANTISED.read_bytes()


def test_a_missing_model_is_fetched_with_progress_and_then_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "whisper")
    steps: list[tuple[int, int | None]] = []
    with model_server("ok") as server:
        models = downloader(tmp_path, server.url)
        path = models.ensure_model_exists(INFO.name, progress=lambda *step: steps.append(step))
        for _ in range(3):
            models.ensure_model_exists(INFO.name)
    assert path == tmp_path / INFO.filename and fetched(tmp_path)
    assert steps == sorted(steps) and steps[-1] == (INFO.bytes, INFO.bytes) and len(steps) > 10
    assert len(server.ranges) == 1
    assert not list(tmp_path.glob("*.part"))
    said = [(r.levelno, r.getMessage()) for r in caplog.records]
    assert said.count((logging.INFO, f"Ensuring model exists: {INFO.name}")) == 1
    assert said.count((logging.DEBUG, f"Model {INFO.name} already validated in cache")) == 3


def test_announced_once_then_quiet_also_in_a_forked_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "whisper")
    shutil.copyfile(QUANTISED, tmp_path / INFO.filename)
    models = downloader(tmp_path, "http://127.0.0.1:9/nobody")
    models.ensure_model_exists(INFO.name, announce=True)
    models.ensure_model_exists(INFO.name, announce=True)
    fork = multiprocessing.get_context("fork")
    lines = fork.SimpleQueue()

    def child() -> None:
        caplog.clear()
        models.ensure_model_exists(INFO.name)
        lines.put([(r.levelno, r.getMessage()) for r in caplog.records])

    process = fork.Process(target=child)
    process.start()
    assert lines.get() == [(logging.DEBUG, f"Model {INFO.name} already validated in cache")]
    process.join()
    assert [r.levelno for r in caplog.records if "Ensuring model exists" in r.message] == [logging.INFO]


def test_broken_connections_are_resumed(tmp_path: Path) -> None:
    with model_server("break", "break", "ok") as server:
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name)
    assert fetched(tmp_path)
    half, quarter = 10_803_593 // 2, (10_803_593 - 10_803_593 // 2) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half + quarter}-"]


class AfterLooks:
    """A cancel that does something, once, when it has been looked at so often; then it is set or not."""

    def __init__(self, looks: int, then: Callable[[], object], *, cancels: bool = False) -> None:
        self._left, self._then, self._cancels = looks, then, cancels

    def is_set(self) -> bool:
        self._left -= 1
        if self._left == 0:
            self._then()
        return self._cancels and self._left <= 0


def test_a_refused_connection_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    with model_server("ok", listening=False) as server:
        # cancel is looked at in the pause, so not before the first connection was refused
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name, cancel=AfterLooks(1, server.server_activate))
    assert fetched(tmp_path) and server.ranges == [None]


def test_a_server_that_does_not_answer_is_given_up_soon(tmp_path: Path) -> None:
    with black_hole() as port, model_server("ok") as server:
        models = downloader(tmp_path, f"http://127.0.0.1:{port}", server.url, pauses=(3600.0,), idle=3600.0)
        models.ensure_model_exists(INFO.name)
    assert fetched(tmp_path)


def test_a_proxy_that_lets_nobody_through_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with model_server("missing") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(
            ModelUnavailable, match=r"https://models.invalid/ggml-demo-q8_0.bin \(501 "
        ):  # the name was not looked up here
            downloader(tmp_path, "https://models.invalid", pauses=(3600.0,)).ensure_model_exists(INFO.name)


def test_cancel_ends_the_pause_between_two_tries(tmp_path: Path) -> None:
    with model_server("busy") as server, pytest.raises(Cancelled):
        cancel = AfterLooks(3, lambda: None, cancels=True)
        downloader(tmp_path, server.url, pauses=[3600.0]).ensure_model_exists(INFO.name, cancel=cancel)
    assert len(server.ranges) == 1


def test_a_busy_server_is_asked_again_and_in_the_end_given_up(tmp_path: Path) -> None:
    with model_server("busy", "break", "busy", "busy", "ok") as server:
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name)
    assert fetched(tmp_path) and len(server.ranges) == 5, "what brought bytes starts the count anew"
    (tmp_path / INFO.filename).unlink()
    with model_server("busy") as server, pytest.raises(ModelUnavailable, match="answered 503"):
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name)
    assert len(server.ranges) == 3


@pytest.mark.parametrize("mode", ["no-such-range", "other-range"])
def test_a_part_that_does_not_fit_costs_no_try(tmp_path: Path, mode: str) -> None:
    downloader(tmp_path).store.part(INFO).write_bytes(QUANTISED.read_bytes()[:4_000_000])
    with model_server(mode) as server:
        downloader(tmp_path, server.url, pauses=()).ensure_model_exists(INFO.name)
    assert fetched(tmp_path) and server.ranges == ["bytes=4000000-", None]


@pytest.mark.parametrize("mode", ["ok", "no-range"])
def test_a_part_of_an_earlier_run_is_taken_up(tmp_path: Path, mode: str) -> None:
    models = downloader(tmp_path)
    models.store.part(INFO).write_bytes(QUANTISED.read_bytes()[:4_000_000])
    with model_server(mode) as server:
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name)
    assert server.ranges == ["bytes=4000000-"] and fetched(tmp_path)


@pytest.mark.parametrize("size", [4_000_000, 10_803_593, 20_000_000])
def test_a_part_of_something_else_is_dropped(tmp_path: Path, size: int) -> None:
    downloader(tmp_path).store.part(INFO).write_bytes(b"lmgg" + b"?" * (size - 4))
    with model_server("ok") as server:
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name)
    assert fetched(tmp_path)
    assert server.ranges[-1] is None


@pytest.mark.parametrize(
    ("modes", "error", "message"),
    [
        (["html"], ModelInvalid, "web page"),
        (["wrong"], ModelInvalid, "SHA-256"),
        (["longer"], ModelInvalid, "10803597 bytes instead of 10803593"),
        (["missing"], ModelUnavailable, "answered 404"),
        (["stall", "missing"], ModelUnavailable, "answered 404"),
    ],
)
def test_bad_answers_each_have_their_error(
    tmp_path: Path, modes: list[str], error: type[Exception], message: str
) -> None:
    with model_server(*modes) as server, pytest.raises(error, match=message) as caught:
        downloader(tmp_path, server.url, idle=1.0 if "stall" in modes else 10.0).ensure_model_exists(INFO.name)
    assert server.url in str(caught.value)
    assert not (tmp_path / INFO.filename).exists()
    if error is ModelInvalid:
        assert not list(tmp_path.glob(".*.part"))


def test_an_unreachable_model_says_what_to_do_and_keeps_passwords_to_itself(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        downloader(tmp_path, "http://user:secret@127.0.0.1:9/x").ensure_model_exists(INFO.name)
    message = str(caught.value)
    for part in ("http://127.0.0.1:9/x/ggml-demo-q8_0.bin", str(tmp_path / INFO.filename), "MODEL_BASE_URL"):
        assert part in message
    assert "secret" not in message


def test_a_connection_that_breaks_for_good_leaves_its_part_for_later(tmp_path: Path) -> None:
    with model_server("break", "missing") as server, pytest.raises(ModelUnavailable, match="answered 404"):
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name)
    assert not (tmp_path / INFO.filename).exists()
    assert downloader(tmp_path).store.part(INFO).stat().st_size == 10_803_593 // 2


def test_a_download_that_takes_too_long_ends(tmp_path: Path) -> None:
    began = time.monotonic()
    with model_server("trickle") as server, pytest.raises(ModelUnavailable, match="took too long"):
        downloader(tmp_path, server.url, total_timeout=0.5).ensure_model_exists(INFO.name)
    assert time.monotonic() - began < 5


def test_a_bad_mirror_is_passed_over(tmp_path: Path) -> None:
    with model_server("wrong") as bad, model_server("ok") as good:
        downloader(tmp_path, "http://127.0.0.1:9", bad.url, good.url).ensure_model_exists(INFO.name)
    assert fetched(tmp_path)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    models = downloader(tmp_path)
    models.store.part(INFO).symlink_to("/dev/full")
    with model_server("ok") as server, pytest.raises(DiskFull):
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name)
    assert not (tmp_path / INFO.filename).exists()


def test_cancel_ends_a_download_and_the_wait_for_one(tmp_path: Path) -> None:
    cancel = threading.Event()
    with model_server("trickle") as server, ThreadPoolExecutor(2) as pool:
        models = downloader(tmp_path, server.url)
        calls = [pool.submit(models.ensure_model_exists, INFO.name, cancel=cancel) for _ in range(2)]
        time.sleep(0.5)
        began = time.monotonic()
        cancel.set()
        for call in calls:
            with pytest.raises(Cancelled):
                call.result()
        assert time.monotonic() - began < 5


def test_a_wrong_file_of_the_operator_is_neither_used_nor_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / INFO.filename
    mine.write_bytes(b"lmgg" + b"?" * (INFO.bytes - 4 if INFO.bytes else 0))
    with model_server("ok") as server, pytest.raises(ModelInvalid, match="local:"):
        downloader(tmp_path, server.url).ensure_model_exists(INFO.name)
    assert mine.read_bytes()[4:8] == b"????" and server.ranges == []


def test_the_object_store_serves_what_one_consumer_fetched(tmp_path: Path) -> None:
    objects = MemoryObjects()
    with model_server("ok") as server:
        for consumer in "ab":
            downloader(tmp_path / consumer, server.url, bucket=objects).ensure_model_exists(INFO.name)
            assert fetched(tmp_path / consumer)
    assert len(server.ranges) == 1
    objects.put(f"models/{INFO.filename}", io.BytesIO(b"lmgg, but not that model"))
    with model_server("ok") as server:
        downloader(tmp_path / "c", server.url, bucket=objects).ensure_model_exists(INFO.name)
    assert len(server.ranges) == 1 and fetched(tmp_path / "c")


def test_an_object_store_without_the_model_leaves_the_part_to_be_resumed(tmp_path: Path) -> None:
    bucket = MemoryObjects()
    downloader(tmp_path).store.part(INFO).write_bytes(QUANTISED.read_bytes()[:4_000_000])
    with model_server("ok") as server:
        downloader(tmp_path, server.url, bucket=bucket).ensure_model_exists(INFO.name)
    assert server.ranges == ["bytes=4000000-"] and fetched(tmp_path)
    (tmp_path / INFO.filename).unlink()
    downloader(tmp_path).store.part(INFO).write_bytes(QUANTISED.read_bytes()[:4_000_000])
    with model_server("missing") as server:  # its copy comes whole
        downloader(tmp_path, server.url, bucket=bucket).ensure_model_exists(INFO.name)
    assert server.ranges == [] and fetched(tmp_path)


def test_a_local_file_that_is_not_here_is_unavailable(tmp_path: Path) -> None:
    """Validated where the job was accepted, but not on this consumer; or removed meanwhile."""
    with pytest.raises(ModelUnavailable, match="There is no file ggml-mine.bin in the models' folder"):
        downloader(tmp_path).ensure_model_exists("local:mine")


def _ensure(folder: Path, url: str, start: Any) -> None:
    start.wait()
    models = downloader(folder, url)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: models.ensure_model_exists(INFO.name), range(4)))) == 1


def test_threads_of_two_processes_download_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Event()
    with model_server("ok") as server:
        processes = [spawn.Process(target=_ensure, args=(tmp_path, server.url, start)) for _ in range(2)]
        for process in processes:
            process.start()
        time.sleep(0.5)
        start.set()
        for process in processes:
            process.join(30)
        assert [process.exitcode for process in processes] == [0, 0]
    assert len(server.ranges) == 1 and fetched(tmp_path)
