"""From an uploaded file to samples: 16 kHz s16le in a spool file, mono or all channels side by side, read back piece by piece.

Memory stays the same for a minute and for a day: samples go straight to disk, and readers
take what they need by `pread` (a memory map would count as the process's memory: 1.1 GB for 10 hours).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from core.audio.channels.apart import MOST_CHANNELS, Channels, too_few_or_many
from core.audio.channels.mixdown import AUDIBLE, OffsetRemover
from core.audio.channels.two_talks import TwoTalks
from core.audio.decoding import Decoding, Sink, Sound
from core.audio.ffmpeg import RAW, Ffmpeg, first_line
from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE, Pcm, Region
from core.audio.source_file import regular_file, write_all
from core.audio.tracks import MOST_HEARD, AudioTrack, SpeechSearch, TrackChoice, by_rank, others
from core.audio.wav import plain_samples
from core.errors import AudioEmpty, AudioTooLong, AudioUndecodable
from core.notices import Notice
from core.system.cancel import Cancel, raise_if_cancelled
from core.system.disk import disk_full
from core.system.processes import Limits

logger = logging.getLogger(__name__)

DECODER = "ffmpeg s16le 16000 mono, timeline 1"
"""What the samples of a file depend on, for the identity of a plan: to be changed with them."""

#: how much of a plain file is read at once, 2 s of audio
BLOCK_BYTES = 64 * 1024
#: channels that cancel each other for less are not worth a word, seconds
CANCELLED_SECONDS = 1.0
#: samples no louder than this are not searched for speech (-72 dBFS)
SILENT = 8


@dataclass(frozen=True, kw_only=True)
class DecodedAudio:
    """What was decoded. The duration is counted, not taken from the file's word."""

    samples: int
    warnings: tuple[Notice, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / SAMPLE_RATE


class Decoder:
    """Decodes files of any format into a spool. Safe to call from many threads.

    One ffmpeg process per call, except for a plain WAV file (`core.audio.wav`), whose samples are copied, and for files with
    several sound tracks, which are listened to first.

    max_seconds: longer audio is refused (AudioTooLong); bounds the spool too, at 32,000 bytes per second and channel
    stall_seconds: a decoder that gives no sample for that long is given up. Generous, because the rest of a
        video whose audio ends early is still read to its end
    choice: which of several sound tracks is decoded
    media_type: what `core.audio.sniff` said; needed for formats without any signature alone
    """

    def __init__(
        self,
        ffmpeg: Ffmpeg,
        *,
        max_seconds: float,
        stall_seconds: float = 300.0,
        nice: int = 10,
        choice: TrackChoice | None = None,
        media_type: str = "",
    ) -> None:
        self.ffmpeg = ffmpeg
        self._max_seconds = max_seconds
        self._stall_seconds = stall_seconds
        self._choice = choice or TrackChoice()
        self._container = RAW.get(media_type)
        # Decoding runs at hundreds of times real time; a tenth of it means a file made to burn CPU.
        cpu = 60 + int(max_seconds / 10)
        self._limits = Limits(memory=2 * 1024**3, cpu_seconds=cpu, file_bytes=0, open_files=64, nice=nice)

    def decode(
        self,
        source: BinaryIO | Path,
        spool: Path,
        *,
        on_block: Callable[[int], None] = lambda _: None,
        on_channels: Callable[[Channels], None] | None = None,
        cancel: Cancel | None = None,
    ) -> DecodedAudio:
        """Decode one sound track of `source` into the file `spool`, replacing it.

        source: a path, or a stream not yet read from (copied beside the spool first if it is no local file)
        on_block: told the number of samples that can now be read, after each block; what it raises ends the decode
        on_channels: each channel is wanted by itself, and this is told before the first block which there are. It is not
            told of recordings with one channel, and with too many, which are mixed as they are without it

        Raises NoAudioStream, AudioTrackMissing, AudioEmpty, AudioUndecodable, AudioTooLong, AudioEncrypted,
        SourceMissing, DiskFull, DecoderKilled, and Cancelled soon after `cancel` is set. What the user should know of
        a file that still gives audio is in the warnings: `audio_damaged`, `audio_timestamps`, `channels_cancel`,
        `channels_differ`, `not_split`, `other_audio_tracks`. ffmpeg has ended when this returns or raises; the calling
        thread must live as long (see `core.system.processes.spawn`).
        """
        started = time.monotonic()
        with disk_full(), regular_file(source, spool.parent, cancel) as file, spool.open("wb", buffering=0) as out:
            samples = _Samples(out, self._max_seconds, on_block, on_channels)
            warnings = self._into(samples, file, cancel, samples.begin if on_channels else None)
            if samples.channels:
                warnings += samples.channels.notices()
        audio = DecodedAudio(samples=samples.written, warnings=warnings)
        logger.info("Decoded %.1f s of audio in %.1f s", audio.duration, time.monotonic() - started)
        return audio

    def listen(
        self, source: BinaryIO | Path, folder: Path, sink: Sink, *, cancel: Cancel | None = None
    ) -> tuple[Notice, ...]:
        """Decode into something else than a spool; returns the warnings, and raises, as `decode` does.

        folder: where a stream that is no local file is copied to
        """
        with disk_full(), regular_file(source, folder, cancel) as file:
            return self._into(sink, file, cancel)

    def _into(
        self, sink: Sink, file: BinaryIO, cancel: Cancel | None, apart: Callable[[int], None] | None = None
    ) -> tuple[Notice, ...]:
        plain = plain_samples(file)
        if plain is None:
            try:
                return self._convert(file, sink, cancel, apart)
            except _NotSplit as mixed:
                return (*self._convert(file, sink, cancel), too_few_or_many(mixed.channels))
        self._choice.find([AudioTrack(index=0, stream=0)])
        _copy(file, *plain, sink, cancel)
        return (too_few_or_many(1),) if apart else ()

    def _convert(
        self, file: BinaryIO, samples: Sink, cancel: Cancel | None, apart: Callable[[int], None] | None = None
    ) -> tuple[Notice, ...]:
        """Have ffmpeg make samples of the file; returns what is to be said of it."""
        try:
            sound = self._decoding(0, self._only, apart=apart, heard=True).run(file, samples, cancel)
            return _notices(sound)
        except _SeveralTracks as several:
            tracks = several.tracks
        chosen = self._choice.find(tracks) or self._spoken(file, tracks, cancel)
        sound = self._decoding(chosen.index, apart=apart, heard=True).run(file, samples, cancel)
        return (*_notices(sound), *others(tracks, chosen))

    def _decoding(
        self,
        track: int,
        opened: Callable[[Sequence[AudioTrack]], None] = lambda _: None,
        *,
        apart: Callable[[int], None] | None = None,
        heard: bool = False,
    ) -> Decoding:
        """heard: it is to be transcribed, and not only looked at"""
        return Decoding(
            self.ffmpeg,
            limits=self._limits,
            stall_seconds=self._stall_seconds,
            max_seconds=self._max_seconds,
            track=track,
            container=self._container,
            opened=opened,
            apart=apart,
            talks=TwoTalks(self._choice.speech, audible=AUDIBLE**2)
            if heard and self._choice.speech and not apart
            else None,
        )

    def _only(self, tracks: Sequence[AudioTrack]) -> None:
        if len(tracks) > 1:
            raise _SeveralTracks(tracks)
        self._choice.find(tracks)

    def _spoken(self, file: BinaryIO, tracks: Sequence[AudioTrack], cancel: Cancel | None) -> AudioTrack:
        """The first track in which there is speech; if there is none in any, the default one."""
        ranked = by_rank(tracks)
        for track in ranked[:MOST_HEARD] if self._choice.speech else ():
            assert self._choice.speech
            try:
                self._decoding(track.index).run(file, _Search(self._choice.speech()), cancel)
            except _Found:
                return track
            except (AudioEmpty, AudioUndecodable) as error:
                logger.info("Sound track %s: %s", track, error.message)
        return ranked[0]


class _SeveralTracks(Exception):
    """A choice is to be made before anything is decoded."""

    def __init__(self, tracks: Sequence[AudioTrack]) -> None:
        self.tracks = tracks


class _NotSplit(Exception):
    """Too few channels, or too many: nothing has been decoded."""

    def __init__(self, channels: int) -> None:
        self.channels = channels


class _Found(Exception):
    """Speech: the search is over."""


class _Search:
    """Where samples are looked through for speech and not kept."""

    def __init__(self, speech: SpeechSearch) -> None:
        self._speech = speech

    def add(self, pcm: Pcm) -> None:
        if len(pcm) and np.abs(pcm.astype(np.int32)).max() > SILENT and self._speech.feed(pcm):
            raise _Found

    def silence(self, samples: int) -> None:
        """Nothing to be found in it."""

    def finish(self) -> None:
        if self._speech.finish():
            raise _Found


class _Samples:
    """The spool's writing end: so much and no more, and whoever listens is told."""

    def __init__(
        self,
        out: BinaryIO,
        max_seconds: float,
        on_block: Callable[[int], None],
        on_channels: Callable[[Channels], None] | None,
    ) -> None:
        self._out, self._max_seconds, self._on_block, self._on_channels = out, max_seconds, on_block, on_channels
        self.written = 0
        self.channels: Channels | None = None

    def begin(self, channels: int) -> None:
        """There are so many, and each will come by itself. Raises _NotSplit."""
        if not 2 <= channels <= MOST_CHANNELS:
            raise _NotSplit(channels)
        self.channels = Channels(channels)
        if self._on_channels:
            self._on_channels(self.channels)

    def add(self, pcm: Pcm) -> None:
        if not len(pcm):
            return
        if self.channels:
            self.channels.add(pcm, self.written)
        write_all(self._out, pcm.tobytes())
        self.written += len(pcm)
        self._check(self.written)
        self._on_block(self.written)

    def silence(self, samples: int) -> None:
        self._check(self.written + samples)
        side_by_side = (self.channels.count,) if self.channels else ()
        for start in range(0, samples, BLOCK_BYTES):
            self.add(np.zeros((min(BLOCK_BYTES, samples - start), *side_by_side), np.int16))

    def finish(self) -> None:
        """All is written already."""

    def _check(self, samples: int) -> None:
        if samples > int(self._max_seconds * SAMPLE_RATE):
            raise AudioTooLong(f"The audio is longer than {self._max_seconds / 3600:g} hours.")


class PcmSpool:
    """Reads a spool, also while it is still being written. Safe to call from many threads. channels: side by side in it"""

    def __init__(self, path: Path, channels: int = 1) -> None:
        self._file, self._channels = path.open("rb", buffering=0), channels

    def read(self, start: int, end: int, channel: int = 0) -> Pcm:
        """Samples [start, end) as a read-only array of shape (end - start,). Raises EOFError if not all are there."""
        size = SAMPLE_BYTES * self._channels
        wanted = (end - start) * size
        data = os.pread(self._file.fileno(), wanted, start * size)
        if len(data) != wanted:
            raise EOFError(f"samples {start} to {end} are not all in the spool")
        return np.ascontiguousarray(np.frombuffer(data, "<i2")[channel :: self._channels])

    def read_regions(self, regions: Iterable[Region], channel: int = 0) -> Pcm:
        """The samples of several regions, spliced."""
        return np.concatenate([np.empty(0, np.int16), *(self.read(r.start, r.end, channel) for r in regions)])

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _copy(file: BinaryIO, start: int, length: int, samples: Sink, cancel: Cancel | None) -> None:
    """Samples that are already as they shall be, but for an offset."""
    offset = OffsetRemover()
    for place in range(start, start + length, BLOCK_BYTES):
        raise_if_cancelled(cancel)
        data = os.pread(file.fileno(), min(BLOCK_BYTES, start + length - place), place)
        samples.add(offset.feed(np.frombuffer(data, "<i2")))
    samples.add(offset.finish())


def _notices(sound: Sound) -> tuple[Notice, ...]:
    notes = []
    if sound.damage:
        text = f"The file is damaged; what could be decoded was used ({first_line(sound.damage)})."
        notes.append(Notice(code="audio_damaged", message=text))
    if sound.joined:
        places = ", ".join(f"{place / SAMPLE_RATE:.1f} s" for place in sound.joined[:3])
        text = f"The file's clock jumps ahead too far for a gap (at {places}); what came before and after was joined."
        notes.append(Notice(code="audio_timestamps", message=text))
    if sound.cancelled >= CANCELLED_SECONDS:
        text = f"The two channels cancel each other for {sound.cancelled:.1f} s (one has its polarity reversed): there the louder one alone was heard."
        notes.append(Notice(code="channels_cancel", message=text))
    return (*notes, *sound.more)
