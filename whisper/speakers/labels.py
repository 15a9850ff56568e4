"""Whose voice is heard in each frame: every window's local speakers are named after the voices they sound like, and outvote
each other where windows overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whisper.speakers.frames import LOCAL, POWERSET, Classes, runs, seconds_of
from whisper.speakers.pieces import Speech
from whisper.speakers.voices import Vectors, unit

CONTEXT = 0.25
"""Weight of what a local speaker sounds like elsewhere in the window, beside the piece itself."""
NEAR_SECONDS = 0.5
"""Silence or others' speech in between makes that count 1/e: where a window has more people than the network can tell apart,
one local speaker is somebody else a little later; and who talks into another's sentence goes on, or was just heard."""
_FULL_SECONDS = 3.0
"""Of speech: more makes nobody surer."""
_REACH_SECONDS = 0.5
"""Speech that no window could name belongs to who is named nearest, within so much."""
_BLOCK = 100_000
"""Frames ranked at once."""

MOST_AT_ONCE = 2
"""The segmentation network knows no more."""


def speaking(
    starts: Sequence[int],
    windows: Sequence[Classes],
    speech: Speech,
    vectors: Vectors,
    heard: NDArray[np.bool_],
    voices: Vectors,
) -> NDArray[np.bool_]:
    """Who speaks in which frame of the recording: shape (frames, voices).

    vectors: of the pieces, with anything in the rows of those that were not `heard`
    """
    votes = _votes(starts, windows, speech, vectors, heard, voices)
    active = np.zeros(votes.shape, bool)
    at_once = np.minimum(speech.count, min(len(voices), MOST_AT_ONCE))
    for start in range(0, len(votes), _BLOCK):
        block = slice(start, start + _BLOCK)
        _rank(votes[block], at_once[block], active[block])
    _fill(active, at_once)
    return active


def _votes(
    starts: Sequence[int],
    windows: Sequence[Classes],
    speech: Speech,
    vectors: Vectors,
    heard: NDArray[np.bool_],
    voices: Vectors,
) -> NDArray[np.uint8]:
    """How many (window, local speaker) call each frame each voice's: shape (frames, voices)."""
    pieces = speech.pieces
    likeness = np.zeros((len(pieces), len(voices)), np.float32)
    likeness[heard] = unit(vectors[heard]) @ voices.T
    weight = np.array(
        [min(piece.seconds, _FULL_SECONDS) if ok else 0.0 for piece, ok in zip(pieces, heard, strict=True)]
    )
    piece_of = np.full(len(speech.count), -1)
    for n, piece in enumerate(pieces):
        piece_of[piece.start : piece.end] = n
    votes = np.zeros((len(speech.count), len(voices)), np.uint8)
    edges = np.array([(piece.start, piece.end) for piece in pieces]).reshape(-1, 2)
    for start, classes in zip(starts, windows, strict=True):
        local, here = POWERSET[classes], piece_of[start : start + len(classes)]
        for speaker in range(LOCAL):
            talks = local[:, speaker] & (here >= 0)
            found, frames = np.unique(here[talks], return_counts=True)
            seconds = seconds_of(1) * frames * heard[found]
            known = float(seconds.sum())
            if not len(found) or (len(voices) > 1 and not known):
                continue  # nobody, or nothing says who it is
            near = seconds * np.exp(-_gaps(edges[found]) / NEAR_SECONDS)
            context = near @ likeness[found] / np.maximum(near.sum(axis=1, keepdims=True), 1e-30)
            scores = weight[found, None] * likeness[found] + CONTEXT * min(known, _FULL_SECONDS) * context
            for one, voice in zip(found.tolist(), scores.argmax(axis=1).tolist(), strict=True):
                votes[start : start + len(classes), voice] += talks & (here == one)
    return votes


def _gaps(edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds between each two of some pieces, which are given by their frames [start, end)."""
    starts, ends = edges[:, 0], edges[:, 1]
    between = np.maximum(starts[None, :] - ends[:, None], starts[:, None] - ends[None, :])
    return np.asarray(np.maximum(between, 0) * seconds_of(1))


def _rank(votes: NDArray[np.uint8], at_once: NDArray[np.uint8], active: NDArray[np.bool_]) -> None:
    """Sets in `active` the voices with most votes, as many as speak at once."""
    left = votes.astype(np.int16)
    frames = np.arange(len(left))
    for rank in range(MOST_AT_ONCE):
        best = left.argmax(axis=1)
        good = (at_once > rank) & (left[frames, best] > 0)
        active[frames[good], best[good]] = True
        left[frames, best] = 0


def _fill(active: NDArray[np.bool_], at_once: NDArray[np.uint8]) -> None:
    named = np.flatnonzero(active.any(axis=1))
    missing = np.flatnonzero((at_once > 0) & ~active.any(axis=1))
    if not len(named) or not len(missing):
        return
    place = np.searchsorted(named, missing)
    before, after = named[np.clip(place - 1, 0, None)], named[np.clip(place, None, len(named) - 1)]
    nearest = np.where(abs(before - missing) <= abs(after - missing), before, after)
    near = abs(nearest - missing) * seconds_of(1) < _REACH_SECONDS
    active[missing[near]] = active[nearest[near]]


def spans(active: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(first frame, frame behind the last, voice), sorted."""
    return sorted((start, end, voice) for voice in range(active.shape[1]) for start, end in runs(active[:, voice]))
