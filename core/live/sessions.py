"""A stream's row, and what of it outlives the process that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from core.audio.wav import head as wav_head
from core.live.options import StreamOptions

RESUME_SECONDS = 30.0
"""How long a stream that has lost its client, or its process, can go on; then it ends with what there is."""


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """What is known when a stream begins. params: of the job that it may become, checked (`JobParams.to_dict`)"""

    id: str
    owner: str | None
    options: StreamOptions
    params: Mapping[str, Any]
    warnings: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Session(NewSession):
    """One row.

    acked: samples at 16 kHz up to which everything is final and stored
    stored: bytes of audio that are stored in pieces, however it comes: where the next piece begins
    consumer: whose live process serves it, or did last
    utterances: the number that the next final has; how many there are, where no number was left out
    """

    acked: int
    stored: int
    utterances: int
    created_at: datetime
    consumer: str | None
    #: the job that it has become; `ended` without one where nothing was to be saved
    job_id: str | None
    ended: bool

    @property
    def channels(self) -> int | None:
        """Of the samples that are kept; None of a container, which says it itself."""
        return None if self.options.encoding == "container" else self.options.channels


@dataclass(frozen=True, kw_only=True)
class SessionLease:
    """The right to serve a stream: valid while it is renewed and the fence is the newest."""

    session: Session
    fence: int


@dataclass(frozen=True, kw_only=True)
class StoredUtterance:
    """One final, as it is kept.

    start, end: the span of the timeline that it answers for, in samples at 16 kHz
    chunk, said: the same as plan and output of a task of the stage `transcribe` (`Chunk.to_dict`,
        `ChunkTranscript.to_dict`), so that a job can take it over; `said` is empty where recognition failed: a job hears it again
    final: the message that was told (`Final.to_dict`); translation: likewise, once there is one
    """

    number: int
    start: int
    end: int
    chunk: Mapping[str, Any]
    said: Mapping[str, Any]
    final: Mapping[str, Any]
    translation: Mapping[str, Any] | None = None


def recording_name(session: Session) -> str:
    """File name of the recording: as the client called it, or by when it began (UTC). What a container is nobody asks."""
    name = session.options.name or f"live {session.created_at:%Y-%m-%d %H.%M}"
    return name if session.channels is None or name.lower().endswith(".wav") else f"{name}.wav"


@dataclass(frozen=True, kw_only=True)
class StreamAudio:
    """The audio of a stream as it lies in the object store.

    keys: of its pieces, in order; size: bytes of them together
    channels: of samples, s16le at 16 kHz; None of a container, whose pieces are the file
    """

    keys: tuple[str, ...]
    size: int
    channels: int | None

    @property
    def head(self) -> bytes:
        """What makes the pieces one file."""
        return b"" if self.channels is None else wav_head(self.size, channels=self.channels)

    @property
    def file_size(self) -> int:
        """Bytes of the file."""
        return len(self.head) + self.size


class LiveSessions(Protocol):
    """Streams on the job store. All writes are guarded by the lease's fence, and safe to repeat when an answer was lost.

    Raise DatabaseUnavailable, and LeaseLost where another process serves the stream by now, or it has ended.
    """

    def begin_session(self, new: NewSession, *, consumer: str, lease_seconds: float) -> SessionLease:
        """It is waited for RESUME_SECONDS beyond its lease."""
        ...

    def resume_session(
        self, session_id: str, *, owner: str | None, consumer: str, lease_seconds: float
    ) -> SessionLease:
        """Go on with a stream, also one that another process still holds: the newer fence wins.

        One that has ended is given too (`Session.ended`) as long as `end_session` has said, for whoever was not told; its
        lease writes nothing. Raises LiveSessionNotFound (also another owner's), LiveSessionEnded.
        """
        ...

    def renew_session(self, lease: SessionLease, *, lease_seconds: float) -> None: ...

    def keep_utterances(self, lease: SessionLease, utterances: list[StoredUtterance], *, acked: int) -> SessionLease:
        """Store finals (or none) and how far everything is final, at once. A number that is there stays as it is."""
        ...

    def keep_translation(self, lease: SessionLease, number: int, translation: Mapping[str, Any]) -> None: ...

    def keep_piece(self, lease: SessionLease, *, start: int, size: int, key: str) -> SessionLease:
        """A stored object has the bytes [start, start + size) of the audio (container, or s16le at 16 kHz, interleaved).

        Pieces follow each other without gaps: one that begins elsewhere raises OffsetConflict.
        """
        ...

    def utterances(self, session_id: str, *, first: int = 0) -> list[StoredUtterance]: ...

    def pieces(self, session_id: str) -> list[tuple[int, int, str]]:
        """(start, size, key), in order."""
        ...

    def leave_session(self, lease: SessionLease, *, seconds: float = RESUME_SECONDS) -> None:
        """Its client is gone: who does not come back within so many seconds has ended."""
        ...

    def end_session(self, lease: SessionLease, *, seconds: float = 0.0) -> str | None:
        """The stream has ended: make its job (`save`, and there is audio) in the same transaction, or forget what was said,
        after so many seconds in which its client may still ask what it has missed.

        Returns the job's id, the same for who asks again. No quota refuses it: that was asked when the stream began.
        """
        ...

    def stream_audio(self, session_id: str) -> StreamAudio | None:
        """None: there is no such stream (any more)."""
        ...

    def sessions(self, owner: str | None, *, all_owners: bool = False) -> list[Session]:
        """Those that have not ended, newest first."""
        ...

    def end_left_sessions(self, *, at_most: int = 100) -> list[str]:
        """End those whose time is over (for the sweeper); returns their ids."""
        ...
