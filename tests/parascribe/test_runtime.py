"""The folder for sockets."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.system import identity
from parascribe.run.runtime import private_folder


@pytest.mark.parametrize("place", ["t" * 130, "t" * 80, "short"])
def test_a_socket_fits_into_it_whatever_tmpdir_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / place).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / place))
    with private_folder() as folder, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(folder / "h999999.sock"))
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert list((tmp_path / place).iterdir()) == []


@pytest.fixture
def short_path() -> Iterator[Path]:
    """pytest's own may be too long for sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


def test_what_killed_services_left_is_removed_unless_their_processes_cannot_be_seen(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two containers may share a folder for temporary files, and not their process numbers."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_path))
    dead = f"/{2**22 + 1}:1"
    for name, owner in {
        "dead": f"{identity.pid_space()}\n{dead}",
        "elsewhere": f"another boot, another container\n{dead}",
        "alive": f"{identity.pid_space()}\n{identity.owner('')}",
        "strange": "17",
    }.items():
        (short_path / f"parascribe-{name}").mkdir()
        (short_path / f"parascribe-{name}" / "owner").write_text(owner)
    with private_folder() as folder:
        left = {path.name for path in short_path.iterdir()}
    assert left == {"parascribe-elsewhere", "parascribe-alive", "parascribe-strange", folder.name}
