"""Which ffmpeg is chosen, and that the command it gets is the hardened one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import pytest

from core.audio.ffmpeg import DEMUXERS, Ffmpeg, failure, find, first_line
from core.errors import AudioUndecodable, DecoderKilled, ServiceError

WHEEL = imageio_ffmpeg.get_ffmpeg_exe()


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


def old(folder: Path) -> Path:
    """Behaves as Debian 12's: it knows no `fd:`."""
    answer = 'echo "ffmpeg version 5.1.9-0+deb12u1 Copyright"; exit 0'
    refusal = 'echo "fd:: Protocol not found" >&2; exit 1'
    return program(folder, "ffmpeg", f'if [ "$1" = -version ]; then {answer}; fi\n{refusal}\n')


def test_the_system_one_is_used_if_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = program(tmp_path, "ffmpeg", f'exec "{WHEEL}" "$@"\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find() == Ffmpeg(path=str(new), version=find(WHEEL).version)


def test_the_wheels_one_is_used_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find().path == WHEEL
    old(tmp_path)
    assert find().path == WHEEL


def test_the_one_that_was_named_is_used_or_the_reason_given(tmp_path: Path) -> None:
    assert find(WHEEL).path == WHEEL
    with pytest.raises(ServiceError, match=r"5\.1\.9-0\+deb12u1.* too old: fd:: Protocol not found"):
        find(str(old(tmp_path)))
    with pytest.raises(ServiceError, match="no program '/nowhere/ffmpeg'"):
        find("/nowhere/ffmpeg")
    with pytest.raises(ServiceError, match="is not ffmpeg"):
        find("/bin/true")


def test_the_command_opens_nothing_but_standard_input() -> None:
    command = Ffmpeg(path="/x/ffmpeg", version="7").decode_command(3600)
    before, after = command[: command.index("-i")], command[command.index("-i") :]
    assert command[0] == "/x/ffmpeg"
    assert after[:2] == ["-i", "fd:"] and after[-1] == "pipe:1"
    options = dict(pairwise(before + after))
    assert options["-protocol_whitelist"] == "fd" and options["-fd"] == "0"
    assert options["-format_whitelist"] == ",".join(DEMUXERS)
    assert options["-fs"] == str(3601 * 16_000 * 4) and options["-map"] == "0:a:0" and options["-max_streams"] == "200"
    assert {"-nostdin", "-vn", "-sn", "-dn"} <= set(command)
    assert not {"hls", "dash", "concat", "sdp", "image2", "lavfi", "srt"} & set(DEMUXERS)


def test_what_ffmpeg_says_is_shown_without_addresses() -> None:
    assert first_line(b"\n[mov @ 0x55d0] [error] moov atom not found\nmore\n") == "moov atom not found"
    assert first_line(b"") == "it gave no reason"


@pytest.mark.parametrize(
    ("status", "complaints", "kind"),
    [
        (-15, b"", DecoderKilled),
        (-9, b"[mp3] Header missing", DecoderKilled),
        (255, b"", DecoderKilled),
        (255, b"Operation not permitted", AudioUndecodable),
        (-11, b"", AudioUndecodable),
        (-24, b"", AudioUndecodable),
        (1, b"", AudioUndecodable),
    ],
)
def test_a_decoder_killed_from_outside_is_told_from_one_that_failed(
    status: int, complaints: bytes, kind: type[ServiceError]
) -> None:
    error = failure(complaints, status)
    assert type(error) is kind and error.code == "audio_undecodable"
    assert error.retryable == (kind is DecoderKilled)
