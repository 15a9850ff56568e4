"""`parascribe batch` and `batches` of both clients, against the real API."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core.jobs.job import JobFailure
from parascribe.cli import main
from parascribe.client.errors import ApiError, Conflict, NotFound
from tests.api.serving import Service, wav
from tests.api.test_batches import finish

Capture = pytest.CaptureFixture[str]
FAILURE = JobFailure(code="audio_undecodable", message="no", stage="decoding")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With two recordings on top, one below, one hidden, and things that are none."""
    root = tmp_path / "talks"
    for name, content in {
        "b.WAV": wav(),
        "a.mp3": wav(2000),
        "notes.txt": b"no",
        ".hidden.wav": wav(),
        "more/c.flac": wav(3000),
        "more/bad.mp4": b"%PDF-1.7" + bytes(5000),
        ".trash/d.wav": wav(),
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def run(capsys: Capture, *words: str) -> tuple[int, str, str]:
    code = main(["batch", *words])
    return code, *capsys.readouterr()


def names(running: Service, batch_id: str) -> list[str]:
    return sorted(job.source.filename for job in running.store.batches_of(None).items(batch_id)[0])


def test_a_folder_becomes_a_batch_and_the_batch_a_zip_file(running: Service, folder: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "submit", str(folder), "--recursive", "--language", "de")
    batch_id = out.strip()
    assert (code, names(running, batch_id)) == (1, ["a.mp3", "b.WAV", "c.flac"])
    assert "bad.mp4: refused" in err and "not_media" in err and "1 of 4 files" in err
    assert running.store.list()[0][0].params.language == "de"
    finish(running)
    finish(running, None)
    code, out, _ = run(capsys, "status", batch_id)
    assert code == 0 and "3 total, 1 queued, 1 completed, 1 failed" in out and "processing" in out
    assert json.loads(run(capsys, "status", batch_id, "--json")[1])["counts"]["failed"] == 1
    assert run(capsys, "retry", batch_id)[:2] == (0, f"{batch_id}\tprocessing\n")
    assert len(run(capsys, "items", batch_id)[1].splitlines()) == 3
    assert len(run(capsys, "items", batch_id, "-s", "queued", "-n", "1", "--json")[1]) > 10
    code, _, err = run(capsys, "results", batch_id, "-f", "srt", "-o", "texts.zip")
    assert code == 0 and "texts.zip" in err
    assert {"errors.json"} < {*zipfile.ZipFile("texts.zip").namelist()}
    assert run(capsys, "list")[1].startswith(f"{batch_id}\tprocessing\t")
    assert run(capsys, "cancel", batch_id)[:2] == (0, f"{batch_id}\tcompleted\n")
    code, _, err = run(capsys, "cancel", batch_id)
    assert code == 1 and "already_terminal" in err
    assert run(capsys, "delete", batch_id)[0] == 0 and run(capsys, "status", batch_id)[0] == 1


def test_without_recursive_and_each_file_once(running: Service, folder: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, "submit", str(folder), str(folder / "a.mp3"), "-j", "2", "--json", "-q")
    batch = json.loads(out)
    assert (code, batch["status"], names(running, batch["id"])) == (0, "processing", ["a.mp3", "b.WAV"])
    assert run(capsys, "submit", str(folder / ".trash"), "--recursive")[0] == 0, "what is named is meant"
    empty = folder / "empty"
    empty.mkdir()
    code, _, err = run(capsys, "submit", str(empty))
    assert code == 2 and "no audio or video" in err
    assert run(capsys, "submit", str(folder / "nothing"))[0] == 2


def test_the_client(running: Service, folder: Path, tmp_path: Path, kind: Any) -> None:
    with kind() as client:
        batch = client.batches.create({"language": "de"}, metadata={"n": 1})
        job = client.submit(folder / "a.mp3", batch=batch["id"], prompt="x")
        assert (job["batch"], job["params"]["language"], job["params"]["prompt"]) == (batch["id"], "de", "x")
        with pytest.raises(Conflict, match="not_ready|No job"):
            client.batches.results(batch["id"], tmp_path / "x.zip")
        assert not (tmp_path / "x.zip").exists() and not list(tmp_path.glob(".*.part"))
        assert client.batches.close(batch["id"])["counts"]["queued"] == 1
        finish(running, "Guten Tag")
        done = client.batches.get(batch["id"])
        assert (done["status"], done["metadata"], done["progress"]["percent"]) == ("completed", {"n": 1}, 100.0)
        assert [one["id"] for one in client.batches.items(batch["id"], status="completed")["items"]] == [job["id"]]
        assert [one["id"] for one in client.batches.list(limit=1)["items"]] == [batch["id"]]
        path = client.batches.results(batch["id"], tmp_path / "x.zip", "srt", max_line_width=20)
        assert b"Guten Tag" in zipfile.ZipFile(io.BytesIO(path.read_bytes())).read("a.srt")
        with pytest.raises(Conflict):
            client.batches.retry(batch["id"])
        with pytest.raises(Conflict):
            client.submit(folder / "a.mp3", batch=batch["id"])
        with pytest.raises(ApiError):
            client.batches.create({"beam_size": 99})
        client.batches.delete(batch["id"])
        with pytest.raises(NotFound):
            client.batches.get(batch["id"])
