"""The folder for sockets."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from parascribe.runtime import private_folder


@pytest.mark.parametrize("place", ["t" * 130, "t" * 80, "short"])
def test_a_socket_fits_into_it_whatever_tmpdir_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / place).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / place))
    with private_folder() as folder, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(folder / "h999999.sock"))
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert list((tmp_path / place).iterdir()) == []
