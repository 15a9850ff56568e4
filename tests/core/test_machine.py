"""The plan of workers: what container limits allow, what is obeyed, and what is warned of."""

from __future__ import annotations

import pytest

from core.system.machine import Machine, inspect, resolve_plan
from whisper.models.sizes import size_of


def plan(machine=None, **given):
    machine = machine or Machine(cores=8, cpus=8, memory_mb=32_000, available_mb=30_000)
    defaults = {
        "model": "base",
        "max_parallel_workers": 0,
        "whisper_threads": 0,
        "max_concurrent_jobs": 2,
        "use_parallel_transcription": True,
    }
    chosen = defaults | given
    size = size_of(chosen["model"])
    return resolve_plan(machine=machine, weights_mb=size.weights_mb, worker_mb=size.worker_mb, **chosen)


@pytest.mark.parametrize(
    ("cores", "available", "model", "expected"),
    [
        (8, 30_000, "base", (8, 1)),
        (2, 30_000, "base", (2, 1)),
        (0.5, 30_000, "base", (1, 1)),
        (16, 1_200, "base", (4, 4)),
        (8, 3_500, "medium", (2, 4)),
        (4, 600, "large-v3", (1, 4)),
        (8, 4_000, "large-v3-turbo-q5_0", (6, 1)),
    ],
)
def test_from_cores_and_memory(cores, available, model, expected):
    found = plan(Machine(cores=cores, cpus=16, memory_mb=32_000, available_mb=available), model=model)
    assert (found.workers, found.threads) == expected
    assert found.workers * found.threads <= max(1, cores + 0.5) and not found.warnings


def test_a_given_number_is_obeyed_and_warned_of():
    found = plan(max_parallel_workers=20, whisper_threads=2)
    assert (found.workers, found.threads) == (20, 2)
    assert any("MAX_PARALLEL_WORKERS=20" in w for w in found.warnings) and any(
        "over-subscribed" in w for w in found.warnings
    )
    tight = Machine(cores=8, cpus=8, memory_mb=4000, available_mb=2500)
    assert any("memory" in w for w in plan(tight, model="medium", max_parallel_workers=4).warnings)


def test_one_worker_is_sequential_with_all_cores():
    found = plan(max_parallel_workers=1)
    assert (found.workers, found.threads, found.parallel) == (1, 8, False)
    assert plan(use_parallel_transcription=False).parallel is False


@pytest.mark.parametrize(("cpu", "cores"), [("150000 100000", 1.5), ("50000 100000", 0.5)])
def test_container_limits_count(tmp_path, cpu, cores):
    (tmp_path / "cpu.max").write_text(cpu + "\n")
    (tmp_path / "memory.max").write_text(str(2 * 10**9))
    (tmp_path / "memory.current").write_text(str(5 * 10**8))
    found = inspect(tmp_path)
    assert found.cores == min(cores, found.cpus) and found.memory_mb == 2000 and found.available_mb <= 1500


def test_cached_files_are_no_used_memory(tmp_path):
    """The kernel drops them when a worker wants the room; a container that has read much is not full."""
    (tmp_path / "memory.max").write_text(str(2 * 10**9))
    (tmp_path / "memory.current").write_text(str(19 * 10**8))
    full = inspect(tmp_path).available_mb
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 400000000\n")
    assert full == 100 and inspect(tmp_path).available_mb == 500


def test_without_limits_the_machine_counts(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    found = inspect(tmp_path)
    assert found.cores == found.cpus >= 1 and found.memory_mb > 500
