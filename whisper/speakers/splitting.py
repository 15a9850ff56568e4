"""Pieces in which one person follows another and no window saw it: they sound like two voices at once, and are cut where one ends.

Half of what was confused in made conversations of four and six people lay in such pieces (docs/explanation/speakers.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from whisper.speakers.frames import seconds_of
from whisper.speakers.pieces import Piece, Speech
from whisper.speakers.voices import Vectors, unit

DOUBTFUL = 0.36
"""Cosine to the second of the voices from which on a piece is looked at: 19 of 20 pieces of one person stay below, 3 of 4 of two
people do not."""
DOUBTFUL_SECONDS = 1.35
"""Two looks that overlap by half."""
_LOOK = round(0.9 / seconds_of(1))
_CHANGE = 0.25
"""What a change of voice has to gain, in cosine: less is chance."""

Listen = Callable[[Iterable[Piece]], Iterator[NDArray[np.float32]]]
"""What pieces sound like, in order."""


def split(
    speech: Speech, vectors: Vectors, heard: NDArray[np.bool_], voices: Vectors, listen: Listen
) -> tuple[Speech, Vectors, NDArray[np.bool_]]:
    """The same with parts in the place of the pieces that hold more than one voice; unchanged where there are none.

    vectors: of the pieces, with anything in the rows of those that were not `heard`
    """
    pieces = speech.pieces
    likeness = unit(vectors) @ voices.T
    doubted = [n for n in np.flatnonzero(heard).tolist() if doubtful(pieces[n], likeness[n])]
    looked = {n: looks(pieces[n]) for n in doubted}
    found = listen(look for n in doubted for look in looked[n])
    parts = {
        n: parts_of(pieces[n], looked[n], unit(np.stack([*islice(found, len(looked[n]))])) @ voices.T) for n in doubted
    }
    number = np.array([len(parts[n]) if n in parts else 1 for n in range(len(pieces))])
    if not (number > 1).any():
        return speech, vectors, heard
    cut = np.repeat(number > 1, number)
    vectors, heard = np.repeat(vectors, number, axis=0), np.repeat(heard, number)
    now = tuple(part for n, piece in enumerate(pieces) for part in parts.get(n, [piece]))
    vectors[cut] = np.stack([*listen(part for part, new in zip(now, cut, strict=True) if new)])
    heard[cut] = np.isfinite(vectors[cut]).all(axis=1)
    return replace(speech, pieces=now), vectors, heard


def doubtful(piece: Piece, likeness: NDArray[np.floating]) -> bool:
    """likeness: cosine of the piece to each voice of the recording"""
    return len(likeness) > 1 and piece.seconds >= DOUBTFUL_SECONDS and float(np.sort(likeness)[-2]) >= DOUBTFUL


def looks(piece: Piece) -> list[Piece]:
    """Parts of 0.9 s that overlap by half and cover the piece: each is asked about by itself."""
    room = piece.end - piece.start - _LOOK
    starts = np.linspace(piece.start, piece.start + room, max(2, round(room / (_LOOK / 2)) + 1)).round().astype(int)
    return [replace(piece, start=start, end=start + _LOOK) for start in starts.tolist()]


def parts_of(piece: Piece, looked: list[Piece], likeness: NDArray[np.floating]) -> list[Piece]:
    """The piece, cut where its voice changes; whole, if it does not.

    likeness: of the looks, cosine to each voice: shape (looks, voices)
    """
    path = _likeliest(likeness)
    cuts = [
        (before.start + after.end) // 2
        for (before, one), (after, other) in pairwise(zip(looked, path, strict=True))
        if one != other
    ]
    return [replace(piece, start=a, end=b) for a, b in pairwise([piece.start, *cuts, piece.end])]


def _likeliest(likeness: NDArray[np.floating]) -> list[int]:
    """The voice of each look, so that the sum of likeness less what changes cost is greatest (Viterbi)."""
    score, back = likeness[0].astype(np.float64), []
    for row in likeness[1:]:
        stays = score >= score.max() - _CHANGE
        back.append(np.where(stays, np.arange(len(score)), score.argmax()))
        score = np.where(stays, score, score.max() - _CHANGE) + row
    path = [int(score.argmax())]
    for came_from in reversed(back):
        path.append(int(came_from[path[-1]]))
    return path[::-1]
