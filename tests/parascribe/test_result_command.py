"""`parascribe result` of a transcript that was edited, and pages of lists, against the real API."""

from __future__ import annotations

import pytest

from parascribe import Client
from parascribe.cli import main
from tests.api.consuming import LINES, consuming
from tests.api.serving import Service


def test_each_revision_can_be_fetched(running: Service, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = running.submit().json()["id"]
    with consuming(running), Client() as client:
        client.wait(job_id)
        transcript = client.transcript(job_id)
        for text in ("first", "second"):
            transcript["segments"][0]["text"] = text
            client.edit(transcript)
            transcript = client.transcript(job_id)
    capsys.readouterr()
    for revision, text in {"latest": "second", "1": "first", "2": "second", "original": LINES[0]}.items():
        assert main(["result", job_id, "-f", "txt", "--revision", revision]) == 0
        assert capsys.readouterr().out.startswith(text)
    assert main(["result", job_id, "-f", "txt", "--revision", "3"]) == 1
    assert "(revision_not_found)" in capsys.readouterr().err
    assert main(["result", job_id, "--revision", "oldest"]) == 1
    assert "revision" in capsys.readouterr().err


def test_a_page_says_where_the_next_begins(running: Service, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a.wav", "b.wav", "c.wav"]
    for name in names:
        running.submit(name=name)
    seen, more = [], []
    while len(seen) < len(names):
        assert main(["list", "-n", "2", *more]) == 0
        out, err = capsys.readouterr()
        seen += [line.split("\t")[-1] for line in out.splitlines()]
        more = err.split()[-2:]
    assert seen == names[::-1] and not err
