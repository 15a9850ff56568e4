"""The sound tracks of a file, and which of them is listened to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.audio.samples import Pcm, Region
from core.errors import AudioTrackMissing
from core.notices import Notice

TRACKS = 200
"""Tracks of all kinds that a file may have: films have dozens of subtitles and fonts."""

STEREO = "stereo"
"""What ffmpeg calls two channels, left and right."""

MOST_HEARD = 16
"""So many tracks at most are searched for speech, each from its start to its first word: no file can keep that up long."""


@dataclass(frozen=True, kw_only=True)
class AudioTrack:
    """One sound track: `index` counts sound tracks from 0, `stream` all tracks; `language` as the file names it, `layout` of
    its channels as ffmpeg does (`mono`, `stereo`, `5.1`)."""

    index: int
    stream: int
    language: str | None = None
    default: bool = False
    layout: str = ""

    def __str__(self) -> str:
        return f"{self.index} ({self.language})" if self.language else str(self.index)


class SpeechSearch(Protocol):
    """Looks through PCM that arrives block by block; stretches of speech come as they end, the last at the finish."""

    def feed(self, pcm: Pcm) -> Sequence[Region]: ...

    def finish(self) -> Sequence[Region]: ...


@dataclass(frozen=True, kw_only=True)
class TrackChoice:
    """How a track is chosen.

    wanted: its index, or its language; None: the one the file calls its default, or the next that holds speech
    speech: makes a search for speech; None: the default track is taken whatever it holds
    language_code: one code for all spellings of a language, None for what is none
    """

    wanted: int | str | None = None
    speech: Callable[[], SpeechSearch] | None = None
    language_code: Callable[[str], str | None] = str.lower

    def find(self, tracks: Sequence[AudioTrack]) -> AudioTrack | None:
        """The wanted track; None when none was asked for. Raises AudioTrackMissing."""
        if self.wanted is None:
            return None
        if isinstance(self.wanted, int):
            found = [track for track in tracks if track.index == self.wanted]
        else:
            code = self.language_code(self.wanted) or self.wanted.lower()
            found = [
                track
                for track in tracks
                if track.language and (self.language_code(track.language) or track.language.lower()) == code
            ]
            if not found and len(tracks) == 1 and tracks[0].language is None:
                return tracks[0]  # nothing says that it is another language
        if found:
            return next((track for track in found if track.default), found[0])
        there = ", ".join(map(str, tracks)) or "none"
        raise AudioTrackMissing(f"There is no sound track {self.wanted!r} in this file; there are: {there}.")


def by_rank(tracks: Sequence[AudioTrack]) -> list[AudioTrack]:
    """Those that the file calls default first, else in the file's order."""
    return sorted(tracks, key=lambda track: not track.default)


def others(tracks: Sequence[AudioTrack], chosen: AudioTrack) -> tuple[Notice, ...]:
    """What to say of the tracks that were not listened to."""
    rest = [track for track in tracks if track is not chosen]
    if not rest:
        return ()
    text = f"Sound track {chosen} was transcribed; this file has others: {', '.join(map(str, rest))}. audio_track chooses one."
    return (Notice(code="other_audio_tracks", message=text),)
