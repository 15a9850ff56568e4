"""Rows 9-15: whatever the broker does costs latency only; status stays readable and uploads are accepted (I6)."""

from __future__ import annotations

import time

import redis

from core.queue.hints import CeleryHints
from testbed.faults.rig import Rig
from testbed.faults.waiting import wait_for


def _client(rig: Rig) -> redis.Redis:
    assert rig.servers is not None
    return redis.Redis.from_url(rig.servers.valkey.url, socket_timeout=5)


def _readable(rig: Rig, job: str) -> None:
    began = time.monotonic()
    assert rig.get(f"/api/v1/jobs/{job}").status_code == 200
    assert time.monotonic() - began < 4


def test_09_a_message_that_comes_twenty_times_runs_once(cluster: Rig) -> None:
    assert cluster.servers is not None
    job = cluster.midway()
    hints = CeleryHints(cluster.servers.valkey.url)
    assert all(hints.send(job) for _ in range(20))
    hints.close()
    assert (cluster.ended(job).attempts, cluster.store.get(job).fence) == (1, 1)
    with _client(cluster) as client:
        wait_for(lambda: client.llen("parascribe") == 0, 5)


def test_10_kill_9_and_restart_with_its_file(cluster: Rig) -> None:
    assert cluster.servers is not None
    jobs = [cluster.midway()]
    cluster.servers.valkey.kill()
    _readable(cluster, jobs[0])
    jobs.append(cluster.upload(10, seed=2))
    assert cluster.ended(jobs[0]).attempts == 1, "a running job needs no broker"
    cluster.servers.valkey.start()
    assert cluster.ended(jobs[1]).attempts == 1


def test_11_kill_9_and_restart_empty(cluster: Rig) -> None:
    assert cluster.servers is not None
    jobs = [cluster.upload(15, seed=n) for n in range(4)]
    cluster.servers.valkey.kill()
    for path in cluster.servers.valkey.folder.glob("appendonly*"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    cluster.servers.valkey.start()
    assert {cluster.ended(job).attempts for job in jobs} == {1}


def test_12_flushall_in_the_middle(cluster: Rig) -> None:
    jobs = [cluster.upload(15, seed=n) for n in range(4)]
    with _client(cluster) as client:
        for _ in range(10):
            client.flushall()
            time.sleep(0.1)
    assert {cluster.ended(job).attempts for job in jobs} == {1}


def half_open(cluster: Rig, seconds: float) -> None:
    """The broker accepts connections and says nothing, for at least so long."""
    assert cluster.servers is not None
    job = cluster.midway()
    cluster.servers.broker.set("blackhole")
    until = time.monotonic() + seconds
    other = cluster.upload(10, seed=2)
    _readable(cluster, other)
    assert cluster.ended(job).attempts == 1
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 5))
        _readable(cluster, other)
    cluster.servers.broker.set("pass")
    assert cluster.ended(other, 60).attempts == 1, "sockets that lost bytes are given up after their time limit"
    assert cluster.ended(cluster.upload(8, seed=3), 60).attempts == 1


def test_13_half_open(cluster: Rig) -> None:
    half_open(cluster, 5)


def test_14_down_at_submit(cluster: Rig) -> None:
    assert cluster.servers is not None
    cluster.servers.broker.set("reset")
    job = cluster.upload(10)
    assert cluster.ended(job).attempts == 1, "taken by a poller, without a hint"
    assert cluster.told("Broker cannot be reached") <= 3, "the API and two consumers each say it once"
    cluster.servers.broker.set("pass")
    assert cluster.ended(cluster.upload(8, seed=2)).attempts == 1
    cluster.logged("Broker is reached again")


def test_15_full(cluster: Rig) -> None:
    running = cluster.midway()
    with _client(cluster) as client:
        client.config_set("maxmemory", "1")
        job = cluster.upload(10, seed=2)
        _readable(cluster, job)
        cluster.ended(running)
        client.config_set("maxmemory", "0")
    assert cluster.ended(job).attempts == 1
