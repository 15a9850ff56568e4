"""From the vectors of pieces to the voices of a recording: how many there are, and what each sounds like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper.speakers.linkage import Labels, Tree, tree_of

DISTANCE = 0.63
"""Average cosine distance above which clusters are different people: between .60 and .70 every count of the measured sets is
the same; at .55 too many, at .75 two women become one (docs/explanation/speakers.md)."""
SAME_VOICE = 0.60
"""Cosine of two clusters' centroids above which they are one person after all."""
SURE_SECONDS = 1.2
"""Shorter pieces do not take part in counting: their vectors scatter too much."""
FORCED_SECONDS = 1.0
"""Of speech that a speaker must have whom only the asked-for number calls for."""
_SHARE, _LEAST, _MOST = 0.01, 1.0, 3.0
"""A voice with less speech than this share of the recording is noise, within these bounds in seconds."""

Vectors = NDArray[np.float32]
"""Shape (n, 192)."""


@dataclass(frozen=True, kw_only=True)
class SpeakerBounds:
    """How many people speak, as far as it is known; hints, since nobody is made up to reach them. exact: None: not known"""

    least: int = 1
    most: int = 20
    exact: int | None = None


def voices_of(vectors: Vectors, seconds: NDArray[np.float64], duration: float, bounds: SpeakerBounds) -> Vectors:
    """Centroids, each of length 1: shape (voices, 192); at least one.

    vectors, seconds: of the pieces that were heard, at least one; duration: of the recording
    """
    sure = seconds >= SURE_SECONDS
    if sure.sum() < 2:
        sure = np.ones(len(seconds), bool)
    units, weights = unit(vectors[sure].astype(np.float64)), seconds[sure]
    tree = tree_of(units)
    smallest = float(np.clip(_SHARE * duration, _LEAST, _MOST))
    labels, kept = _counted(tree, weights, smallest, bounds)
    sums = np.stack([weights[labels == one] @ units[labels == one] for one in kept])
    if bounds.exact is None:
        sums = _without_twins(sums, bounds.least)
    return unit(sums).astype(np.float32)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each of length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float64)


def _counted(tree: Tree, weights: NDArray[np.float64], smallest: float, bounds: SpeakerBounds) -> tuple[Labels, Labels]:
    """Clusters of the vectors, and which of them are speakers."""
    labels = tree.below(DISTANCE)
    spoken = np.bincount(labels, weights=weights)
    kept = np.flatnonzero(spoken >= smallest)
    if not len(kept):
        kept = np.array([spoken.argmax()])
    wanted = bounds.exact or min(max(len(kept), bounds.least), bounds.most)
    if wanted == len(kept):
        return labels, kept
    # the nearest number below it, if not everybody of so many would say enough
    for number in range(min(wanted, tree.leaves), 0, -1):
        for clusters in range(number, min(tree.leaves, 4 * number + 8) + 1):
            cut = tree.into(clusters)
            spoken = np.bincount(cut, weights=weights)
            largest = np.argsort(-spoken, kind="stable")[:number]
            if spoken[largest[-1]] >= FORCED_SECONDS:
                return cut, largest
        if number <= len(kept) < wanted:
            break  # no more than were found by themselves
    return labels, kept


def _without_twins(sums: NDArray[np.float64], least: int) -> NDArray[np.float64]:
    """Joins centroids of one voice, the most alike first."""
    while len(sums) > least:
        centroids = unit(sums)
        alike = np.triu(centroids @ centroids.T, 1)
        one, other = np.unravel_index(alike.argmax(), alike.shape)
        if alike[one, other] < SAME_VOICE:
            break
        sums[one] += sums[other]
        sums = np.delete(sums, other, axis=0)
    return sums
