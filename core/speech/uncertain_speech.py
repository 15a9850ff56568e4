"""Sound outside of all speech that the speech detector half hears: not transcribed, but told.

What Silero VAD gives some probability is quiet or far speech, but also laughter, knocks and music: too little to decode
(`core.speech.quiet_speech` takes what is clearer), enough to say where to listen. The limits are measured on 93 real clips (those
of `benchmarks/recordings.py`); what was missed is known from the same clip at its own level:

* Silent: 5 recordings of noise (78 s; the nearest has 0.83 s half heard), 37 minutes of made noise, hum and tones, 82 clips
  as they are, 6 meetings (AMI), and 14 minutes of clips with pauses and each noise at 30, 20 and 10 dB below the speech.
* Says so: 5 of 15 clips that lose more than a second at -40 dB, 17 of 56 at -50 dB (of 25 of them no speech is heard at
  all, which `no_speech` tells). Of the 14 minutes at -30, -40 and -50 dB it names a third of what is lost.

A lower limit finds more, and noise. What AMI's far voices lose is below 0.05 mostly, as noise is: no limit finds that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm, Region
from core.notices import Notice
from core.speech.quiet_speech import MEMORY, SECOND, levels
from core.speech.regions import FRAME, Score

UNCERTAIN = 0.1
"""Probability from which a frame counts..."""

ABOVE_NOISE = 9.0
"""...if it stands so many decibels out of the noise: the stillest second (`SECOND`) among the `MEMORY` before and after it."""

APART = 2 * SAMPLE_RATE // FRAME
"""Frames between two such from which on they are two stretches (2 s)."""

LEAST = SAMPLE_RATE // FRAME + 1
"""Such frames that a stretch must have (1 s)."""

NAMED = 3
"""Stretches whose times are told."""

QUIET_SPEECH = "quiet_speech_left_out"


class UncertainSpeech:
    """A Score that passes on another one's and remembers it, with the level, in two bytes a frame (5 MB for 24 hours)."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self._scores, self._quiet = bytearray(), bytearray()

    def __call__(self, pcm: Pcm) -> NDArray[np.float32]:
        scores = self._score(pcm)
        self._scores += np.rint(scores * 255).astype(np.uint8).tobytes()
        self._quiet += np.rint(-2 * levels(pcm)).astype(np.uint8).tobytes()  # half decibels below full scale: 0 to 192
        return scores

    def left_out(self, heard: Sequence[Region]) -> list[Region]:
        """Stretches outside of what is heard that may be speech; once the audio has ended. Does not depend on block sizes."""
        quiet = np.frombuffer(bytes(self._quiet), np.uint8).astype(np.int16)
        seconds = len(quiet) // SECOND
        if not seconds:
            return []
        still = np.sort(quiet[: seconds * SECOND].reshape(seconds, SECOND))[:, -1 - SECOND // 5]
        noise = np.repeat([still[max(0, n - MEMORY) : n + MEMORY + 1].max() for n in range(seconds)], SECOND)
        found = np.frombuffer(bytes(self._scores), np.uint8) >= UNCERTAIN * 255
        found &= quiet <= np.pad(noise, (0, len(quiet) - len(noise)), mode="edge") - round(2 * ABOVE_NOISE)
        for region in heard:
            found[region.start // FRAME : -(-region.end // FRAME)] = False
        frames = np.flatnonzero(found)
        stretches = np.split(frames, np.flatnonzero(np.diff(frames) > APART) + 1)
        return [Region(start=int(s[0]) * FRAME, end=int(s[-1] + 1) * FRAME) for s in stretches if len(s) >= LEAST]


def notice(stretches: Sequence[Region]) -> Notice:
    """The warning `quiet_speech_left_out`."""
    total = sum(s.samples for s in stretches) / SAMPLE_RATE
    places = ", ".join(f"{s.start / SAMPLE_RATE:.1f} to {s.end / SAMPLE_RATE:.1f} s" for s in stretches[:NAMED])
    rest = f" and {len(stretches) - NAMED} more" if len(stretches) > NAMED else ""
    return Notice(
        code=QUIET_SPEECH,
        message=f"What may be quiet or far speech was left out, {total:.1f} s in all: {places}{rest}.",
    )
