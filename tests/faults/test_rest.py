"""Rows 22, 23, 25, 26, 29, 31, 32: database, disk, hostile files, clocks, upgrades, power cuts, missing models."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from uuid_utils import uuid7

from core.jobs.job import JobParams, NewJob, Source
from core.jobs.tasks import TRANSCRIBE
from core.objects.store import source_key
from core.store.sql import SqlStore
from scripts.servers import Minio, Postgres
from testbed import audio_bank
from testbed.faults import made
from testbed.faults.rig import Rig
from testbed.faults.waiting import wait_for
from testbed.service import PLAIN
from tests.faults.conftest import AHEAD
from tests.faults.test_api import database_held


def test_22_database_out_of_reach_for_longer_than_a_lease(either: Rig) -> None:
    job = either.midway(broken_off=True)
    with database_held(either):
        time.sleep(9)
    done = either.ended(job, 60)
    assert done.status == "completed" and done.attempts <= 2


def test_22_database_reset_at_submit(cluster: Rig) -> None:
    assert cluster.servers is not None
    job = cluster.midway()
    cluster.servers.database.set("reset")
    answer = httpx.post(
        f"{cluster.url}/api/v1/jobs", files={"file": ("a.wav", made.noise(8))}, timeout=30, verify=PLAIN
    )
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    time.sleep(0.3)
    cluster.servers.database.set("pass")
    assert cluster.ended(job).attempts == 1, "an outage shorter than the lease costs nothing"
    found = cluster.check(stop=False)
    assert found.executed == found.planned, "no finished chunk was computed again"


def test_23_disk_full_in_the_work_folder(either: Rig) -> None:
    """The spool of the first run is /dev/full, on which every write fails with ENOSPC."""
    for _ in range(5):
        job_id, spools = submit_with_full_disk(either)
        wait_for(lambda job=job_id: either.told(f"{job} There is no space left") or either.store.get(job).terminal, 40)
        if either.told(f"{job_id} There is no space left"):
            break  # else a sweep was quicker than the job's process, and took the folder for a dead one's
    other = either.upload(8, seed=3)
    for spool in spools:
        spool.unlink(missing_ok=True)
    done = either.ended(job_id)
    assert (done.status, done.attempts, done.fence) == ("completed", 1, 1), "it went on when there was space again"
    assert either.ended(other).status == "completed"
    wait_for(
        lambda: not any(spool.parent.exists() for spool in spools)
    )  # the job's process takes its own, a sweep the others


def submit_with_full_disk(either: Rig) -> tuple[str, list[Path]]:
    """A job whose work folder is there before it. Returns when its process has taken the folder, or is about to; (id, spools)."""
    data, job_id = made.noise(10), str(uuid7())
    spools = [work / f"{job_id}.1" / "pcm.s16le" for work in either.work]
    locks = []
    for spool in spools:
        fresh = spool.parent.with_name(f"new-{job_id}")  # a name that no sweep looks at
        fresh.mkdir()
        (fresh / spool.name).symlink_to("/dev/full")
        locks.append(os.open(fresh, os.O_RDONLY))
        fcntl.flock(locks[-1], fcntl.LOCK_EX)  # or a sweep would take it for a dead one's
        fresh.rename(spool.parent)
    key = source_key(job_id)
    with (either.folder / "full.wav").open("wb+") as file:
        file.write(data)
        file.seek(0)
        either.objects.put(key, file)
    source = Source(
        filename="a.wav", bytes=len(data), media_type="audio/wav", sha256=hashlib.sha256(data).hexdigest(), key=key
    )
    either.store.create(NewJob(id=job_id, source=source, params=JobParams(model="demo", language="en")))
    inodes = {str(os.fstat(lock).st_ino) for lock in locks}
    wait_for(
        lambda: [
            1
            for line in Path("/proc/locks").read_text().splitlines()
            if "->" in line and line.split()[-3].split(":")[-1] in inodes
        ]
    )
    for lock in locks:  # now that the job's process waits for it
        os.close(lock)
    return job_id, spools


def test_23_temp_folder_full(solo: Rig) -> None:
    """Nothing of an upload or a job lies there. A consumer that starts anew tries its ffmpeg there, and waits for space."""
    full = solo.folder / "full"
    solo.ended(solo.upload(8))  # all that a start needs the folder for is over
    full.touch()
    try:
        job = solo.midway()
        os.kill(solo.processes("testbed.faults.api_main")[0].pid, signal.SIGKILL)
        assert solo.ended(job).attempts == 1
        wait_for(lambda: solo.get("/readyz").status_code == httpx.codes.OK, 30)
        assert solo.ended(solo.upload(40, seed=2)).attempts == 1, "with files larger than a form parser keeps in memory"
        os.kill(solo.processes("testbed.faults.consumer_main")[0].pid, signal.SIGKILL)
        solo.logged(r"consumer ended \(exit code 1\)")
        waiting = solo.upload(8, seed=3)
        assert solo.job(waiting)["status"] == "queued", "accepted all the same"
    finally:
        full.unlink()
    assert solo.ended(waiting).attempts == 1


def hostile(folder: Path) -> dict[str, tuple[bytes, set[str]]]:
    wav = bytearray(made.noise(8))
    slow = bytes(wav[:24]) + (1).to_bytes(4, "little") + bytes(wav[28:])
    wide = bytes(wav[:22]) + (255).to_bytes(2, "little") + bytes(wav[24:])
    (folder / "neighbour.wav").write_bytes(made.noise(8))
    long = audio_bank.ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "600", "-f", "flac", "pipe:1")
    return {
        "ffconcat.mp3": (b"ffconcat version 1.0\nfile neighbour.wav\n", {"not_media", "audio_undecodable"}),
        "hls.mp3": (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n", {"not_media", "audio_undecodable"}),
        "one-hertz.wav": (slow, {"audio_undecodable", "audio_too_long"}),
        "255-channels.wav": (wide, {"audio_undecodable"}),
        "empty.wav": (bytes(wav[:40]) + bytes(4), {"audio_empty", "audio_undecodable"}),
        "ten-minutes.flac": (long, {"audio_too_long"}),
    }


def test_25_hostile_files_end_with_a_code(solo: Rig) -> None:
    began = time.monotonic()
    for name, (data, codes) in hostile(solo.folder).items():
        answer = httpx.post(
            f"{solo.url}/api/v1/jobs", files={"file": (name, data)}, data={"language": "en"}, timeout=30, verify=PLAIN
        )
        if answer.status_code == 202:
            done = solo.ended(answer.json()["id"])
            assert done.error is not None and done.error.code in codes and done.attempts == 1, (name, done)
        else:
            assert answer.status_code < 500 and answer.json()["code"] in codes, (name, answer.text)
    assert time.monotonic() - began < 60


def test_26_a_consumer_whose_clock_is_an_hour_ahead(cluster: Rig) -> None:
    """The second one's, in all tests."""
    jobs = [cluster.midway(held=True) for _ in range(2)]  # each consumer has one
    job = next(job for job in jobs if cluster.holder(job) == "consumer-2")
    os.kill(cluster.owner(job), signal.SIGKILL)
    cluster.release()
    done = cluster.ended(job)
    assert done.attempts == 2
    assert abs(done.started_at.timestamp() - time.time()) < 120, "the database's clock counts"
    apart = cluster.wait_log(r"the object store's are (\d+) seconds apart")
    assert abs(int(apart[1]) - AHEAD) < 120, "the clock was off, and uploads and results came through all the same"


def test_26_29_and_31_power_cut_solo_and_then_another_chunk_length_and_a_clock_an_hour_behind(
    own_solo: Callable[..., Rig],
) -> None:
    rig = own_solo(LEASE_SECONDS="60", MAX_CONCURRENT_JOBS="2")
    job = rig.midway(chunks=3, held=True, compare=False)
    others = [rig.upload(30, seed=n, compare=False) for n in range(3)]
    wait_for(lambda: rig.store.get(others[0]).chunks_done >= 2)
    rig.kill_all()
    before = {row.number: row.plan for row in rig.store.tasks(job, TRANSCRIBE)}
    done_before = rig.store.get(job).chunks_done
    rig.release()
    rig.env["CHUNK_DURATION"] = "7"
    rig.set_script(delay=0.1, wall_shift=-3600)
    rig.start()
    for one in (job, *others):
        assert rig.ended(one, 30).status == "completed", "without waiting for leases"
    done = rig.store.get(job)
    assert [w["code"] for w in done.warnings] == ["mixed_versions"]
    assert {row.number: row.plan for row in rig.store.tasks(job, TRANSCRIBE) if row.number in before} == before, (
        "stored chunks are never planned anew"
    )
    assert done.chunks_done >= done_before
    shifted = rig.midway(compare=False)
    os.kill(rig.owner(shifted), signal.SIGKILL)
    done = rig.ended(shifted, 30)
    assert done.attempts == 2, "nor for a lease of the clock that is off"
    assert abs(done.started_at.timestamp() - time.time() + 3600) < 120, "the clock was off"
    rig.check()


def test_29_a_newer_row_is_left_to_newer_consumers(either: Rig) -> None:
    newer = SqlStore(either.store.database, row_version=99)
    job = made.submit(newer, either.objects, made.noise(8), language="en")
    mine = either.upload(8, seed=4)
    assert either.ended(mine).attempts == 1
    time.sleep(1)
    found = either.store.get(job.id)
    assert (found.status, found.attempts) == ("queued", 0)
    either.store.request_delete(job.id)
    wait_for(lambda: not [key for key in either.objects.keys("jobs/") if job.id in key])


def test_31_power_cut_cluster(cluster: Rig, postgres: Postgres, minio: Minio) -> None:
    """Everything at once, servers too; then it is all started again."""
    assert cluster.servers is not None
    jobs = [cluster.upload(20, seed=n) for n in range(4)]
    wait_for(lambda: cluster.store.get(jobs[0]).chunks_done >= 2)
    cluster.kill_all()
    for server in (cluster.servers.valkey, postgres, minio):
        if server.owned:
            server.kill()
            server.start()
    cluster.start()
    for job in jobs:
        cluster.ended(job)


def test_32_a_model_that_is_not_there(solo: Rig) -> None:
    job = solo.upload(8, model="tiny", compare=False, ends="failed")
    done = solo.ended(job)
    assert (done.error.code, done.attempts, done.error.retryable) == ("model_unavailable", 1, True)
