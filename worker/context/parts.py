"""What a run needs, made once by the wiring and shared by all jobs of a consumer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from core.audio.ffmpeg import Ffmpeg
from core.audio.samples import Pcm
from core.jobs.turns import AGE_SECONDS
from core.objects.store import ObjectStore
from core.store.sql import SqlStore
from core.submission.origins import Origins
from core.system.machine import Plan
from whisper.engine.transcriber import WhisperTranscriber
from whisper.enhance.enhancer import Enhancer
from whisper.models.store import ModelStore
from whisper.speakers.diarizer import Diarizer
from whisper.translation.router import Translators
from worker.context.figures import Tell, nobody

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Vad(Protocol):
    """Streaming voice activity detection."""

    def feed(self, pcm: Pcm) -> NDArray[np.float32]:
        """Next block of 16 kHz mono, a multiple of 512 samples but for the last -> one probability per 512 samples."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The part of the settings a run looks at; seconds throughout.

    usual_languages: codes, preferred where a guess is weak
    diarize_beside: speakers are looked for while words are recognised; else behind that
    """

    work: Path
    lease_seconds: float
    max_attempts: int
    chunk_seconds: float
    chunk_strategy: str
    fit_context: bool = False
    usual_languages: tuple[str, ...] = ()
    diarize_beside: bool = True
    chunk_fail_share: float
    max_audio_seconds: float
    shutdown_seconds: float
    parallel: bool
    nice: int = 0
    #: after so long a waiting job grows into the next class
    priority_age_seconds: float = AGE_SECONDS
    #: waits between tries when a part of the service is away; a minute of patience costs no attempt
    backoff: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is made once and shared by all jobs of a consumer.

    enhancer: None: there is none here
    translators: without any, nothing is translated
    vad: makes a fresh detector per job
    width: chunks of one job handed to the engine at once
    consumer: id of this consumer, leads the lease owner's name
    tell: told what happens, for the consumer's figures; must neither block for long nor raise
    origins: where the files of jobs come from that came without one
    check_disk: raises DiskFull when there is too little room for what is brought from there
    """

    settings: RunSettings
    store: SqlStore
    objects: ObjectStore
    models: ModelStore
    transcriber: WhisperTranscriber
    diarizer: Diarizer
    ffmpeg: Ffmpeg
    vad: Callable[[], Vad]
    plan: Plan
    width: int
    consumer: str
    origins: Origins
    enhancer: Enhancer | None = None
    translators: Translators = field(default_factory=Translators)
    check_disk: Callable[[], None] = lambda: None
    tell: Tell = nobody
