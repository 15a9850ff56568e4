"""Who waits for an answer passes bulk work, in a real service with the real engine."""

from __future__ import annotations

from pathlib import Path

import httpx

from testbed.service import audio, running


def test_an_interactive_clip_passes_bulk_work_that_fills_all_slots(tmp_path: Path) -> None:
    long_path, _ = audio(tmp_path, minutes=20, seed=51, name="long.flac")
    clip_path, _ = audio(tmp_path, minutes=0.08, seed=52, name="clip.flac")
    with running(tmp_path / "service", MAX_CONCURRENT_JOBS="1", JOB_DEFAULTS='{"priority": "bulk"}') as service:
        bulk = [service.submit(long_path) for _ in range(3)]
        assert bulk[0]["params"]["priority"] == "bulk"
        service.wait(bulk[0]["id"], lambda job: job["progress"]["chunks_done"] >= 2)
        for _ in range(2):  # the second when the slot has been used once
            clip = service.wait(service.submit(clip_path, priority="interactive")["id"])
            assert (clip["status"], clip["attempts"], clip["params"]["priority"]) == ("completed", 1, "interactive")
        assert [service.job(job["id"])["status"] for job in bulk] == ["processing", "queued", "queued"]
        for job in reversed(bulk):
            httpx.post(f"{service.url}/api/v1/jobs/{job['id']}/cancel")
            service.wait(job["id"])
