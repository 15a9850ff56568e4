"""Sniffing beyond what tests/core/test_formats_in.py shows with whole files."""

from __future__ import annotations

import pytest

from core.audio.sniff import sniff
from core.errors import NotMedia

FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes


def tag(size: int) -> bytes:
    syncsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + syncsafe


def test_mp3_behind_tag_padding_or_a_picture_too_large_to_see_past() -> None:
    assert sniff(FRAME * 3) == "audio/mpeg"
    assert sniff(bytes(1000) + FRAME * 3) == "audio/mpeg"
    assert sniff(tag(200) + bytes(200) + FRAME * 3) == "audio/mpeg"
    assert sniff(tag(200) + bytes(200) + b"fLaC" + bytes(50)) == "audio/flac"
    assert sniff(tag(1_000_000) + bytes(60_000)) == "audio/mpeg"


def test_a_frame_header_alone_is_no_proof() -> None:
    with pytest.raises(NotMedia):
        sniff(FRAME + b"something else" * 100)


def test_wideband_amr() -> None:
    assert sniff(b"#!AMR-WB\n" + bytes(30)) == "audio/amr"


@pytest.mark.parametrize(
    ("name", "media_type"), [("talk.webm", "video/webm"), ("talk.weba", "audio/webm"), (None, "video/webm")]
)
def test_the_name_tells_sound_from_picture_only(name: str | None, media_type: str) -> None:
    assert (
        sniff(b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm", name) == media_type
    )


def test_the_name_makes_nothing_media() -> None:
    with pytest.raises(NotMedia, match="text file"):
        sniff(b"hello", "talk.m4a")


def test_sound_within_an_archive_or_a_page_is_not_a_sound_file() -> None:
    for front in (b"PK\x03\x04", b"%PDF-1.7\n", b"\x89PNG", b"<html>"):
        with pytest.raises(NotMedia):
            sniff(front + bytes(50) + FRAME * 5, "talk.mp3", lambda _: "audio/mpeg")


def test_one_tag_before_another() -> None:
    assert sniff(tag(200) + bytes(200) + tag(100) + bytes(100) + FRAME * 3) == "audio/mpeg"
    assert sniff(tag(200) + bytes(200) + tag(1_000_000) + bytes(60_000)) == "audio/mpeg"


def test_text_is_told_from_bytes_without_control_characters() -> None:
    for text in ("Привет, мир. ".encode() * 50, "Grüße aus Köln. ".encode("latin-1") * 50):
        with pytest.raises(NotMedia, match="text file"):
            sniff(text, "talk.g722")
    assert sniff(bytes(range(128, 256)) * 10, "talk.g722") == "audio/g722"


def test_who_is_asked_when_nothing_is_known() -> None:
    odd = b"\x01\x02" * 1000
    assert sniff(odd, "talk.odd", lambda head: "audio/x-odd" if head == odd else None) == "audio/x-odd"
    with pytest.raises(NotMedia, match="no audio or video format"):
        sniff(odd, "talk.odd", lambda _: None)
