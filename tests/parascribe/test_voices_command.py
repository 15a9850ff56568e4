"""`parascribe voices`, `--known-speaker`, and both clients' `voices`, against a real API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from core.jobs.known_speakers import SAMPLE_BYTES, samples_in, unpacked
from parascribe.cli.program import app
from parascribe.client.calls import uploading
from parascribe.client.errors import ApiError, Conflict, NotFound
from tests.api.serving import Service, wav
from tests.core.test_known_speakers import ANNA, data_url, heard


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "anna=1.wav"
    path.write_bytes(ANNA)
    return path


def stored(running: Service, job_id: str) -> tuple[Any, dict[str, bytes]]:
    job = running.store.get(job_id)
    if job.samples_key is None:
        return job.params.known_speakers, {}
    with running.objects.open(job.samples_key) as data:
        return job.params.known_speakers, unpacked(data)


def keep(running: Service, name: str) -> None:
    """As if somebody had kept a voice."""
    running.store.voices_of(None).keep(name, job_id=heard(running.store), number=0)


def test_samples_come_from_files(running: Service, kind: Any, sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(running, "Carl")
    talk = sample.with_name("talk.wav")
    talk.write_bytes(wav(60_000))
    url = data_url(ANNA)
    want = samples_in([{"sample": url}])
    monkeypatch.setattr(uploading, "FROM_BYTES", 1000)  # what is large goes in parts, unless it has samples
    with kind() as client:
        for given in (sample, str(sample), url):
            known = [{"name": "Anna", "sample": given}, {"name": "Dr. C.", "voice": "Carl"}, {"name": "Carl"}]
            job = client.submit(talk, diarize=True, known_speakers=known)
            entries, samples = stored(running, job["id"])
            assert samples == want and [one["name"] for one in entries] == ["Anna", "Dr. C.", "Carl"]
        job = client.submit(talk, diarize=True, known_speakers=[{"name": "Carl"}])
        assert stored(running, job["id"]) == ([{"name": "Carl", "voice": "Carl"}], {})
        job = client.submit_from(
            url="https://a.test/talk.wav", diarize=True, known_speakers=[{"name": "Anna", "sample": sample}]
        )
        assert stored(running, job["id"])[1] == want
        before = running.store.totals().by_status
        with pytest.raises(OSError, match="nobody"):
            client.submit(talk, diarize=True, known_speakers=[{"name": "Anna", "sample": "nobody.wav"}])
        sample.write_bytes(bytes(SAMPLE_BYTES + 1))
        with pytest.raises(OSError, match="too large"):
            client.submit(talk, diarize=True, known_speakers=[{"name": "Anna", "sample": sample}])
        with pytest.raises(ApiError, match="known_speakers"):
            client.submit(talk, known_speakers=[{"name": "Carl"}])
        assert running.store.totals().by_status == before


def test_on_the_command_line(running: Service, sample: Path) -> None:
    keep(running, "Carl")
    talk = sample.with_name("talk.wav")
    talk.write_bytes(wav())
    known = ("--known-speaker", f"Anna={sample}", "--known-speaker", "Carl")
    done = run("transcribe", str(talk), "--diarize", *known, "--no-wait")
    assert done.exit_code == 0, done.output
    entries, samples = stored(running, done.stdout.strip())
    assert [one["name"] for one in entries] == ["Anna", "Carl"] and list(samples.values()) == [ANNA]
    plain = run("transcribe", str(talk), "--no-wait")
    assert plain.exit_code == 0 and stored(running, plain.stdout.strip()) == (None, {})
    missing = run("transcribe", str(talk), "--diarize", "--known-speaker", "Anna=nobody.wav", "--no-wait")
    assert missing.exit_code == 2 and "nobody.wav" in missing.output
    stranger = run("transcribe", str(talk), "--diarize", "--known-speaker", "Dora", "--no-wait")
    assert stranger.exit_code == 1 and "kept no voice of the name Dora" in stranger.output


def test_voices_are_listed_and_forgotten(running: Service, kind: Any) -> None:
    keep(running, "Carl")
    assert "Carl" in run("voices", "list").stdout
    assert [one["name"] for one in json.loads(run("voices", "list", "--json").stdout)] == ["Carl"]
    refused = run("voices", "keep", "Anna", "0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f", "SPEAKER_00")
    assert refused.exit_code == 1 and isinstance(refused.exception, NotFound)
    with kind() as client:
        waits = running.submit().json()["id"]
        with pytest.raises(Conflict):
            client.voices.keep("Anna", job=waits, speaker="SPEAKER_00")
        assert [one["name"] for one in client.voices.list()] == ["Carl"]
        with pytest.raises(NotFound):
            client.voices.delete("Anna")
    gone = run("voices", "delete", "Carl", "Dora")
    assert gone.exit_code == 1 and "Dora" in gone.output and not running.store.voices_of(None).list()
