"""Agglomerative clustering with average linkage on cosine distance, exact, and in bounded memory for long recordings.

The mean distance between all pairs of two clusters of unit vectors is 1 - (sum of one) . (sum of the other) / (n m), so sums
and counts are all there is to remember (Sokal and Michener's UPGMA; its heights never fall, so one tree serves all cuts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 1500
"""Vectors whose distances are looked at together: 18 MB of float64."""
TIGHT = 0.45
"""Distance below which two neighbours in time are one voice beyond doubt: what was so joined is not looked at apart again."""

Labels = NDArray[np.intp]
"""Of each vector, its cluster from 0."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Who was joined with whom, the nearest first: cluster `left[i]` took in `right[i]` at distance `height[i]`.

    micro: of each vector, the leaf it belongs to
    """

    left: Labels
    right: Labels
    height: Floats
    micro: Labels

    @property
    def leaves(self) -> int:
        return len(self.left) + 1

    def below(self, distance: float) -> Labels:
        """Clusters that are further apart than that."""
        return self._cut(int(np.searchsorted(self.height, distance, "right")))

    def into(self, clusters: int) -> Labels:
        """So many clusters, or as many as there are leaves."""
        return self._cut(max(0, self.leaves - clusters))

    def _cut(self, joins: int) -> Labels:
        owner = np.arange(self.leaves)
        for kept, gone in zip(self.left[:joins], self.right[:joins], strict=True):
            owner[owner == gone] = kept
        return np.unique(owner, return_inverse=True)[1][self.micro]


def tree_of(vectors: Floats) -> Tree:
    """vectors: at least one, each of length 1, in the order of time."""
    micro = np.arange(len(vectors))
    closest = TIGHT
    sums, counts = vectors, np.ones(len(vectors))
    while len(sums) > BLOCK:
        joined = _within_blocks(sums, counts, closest)
        if joined.max() + 1 > 0.95 * len(sums):
            break  # nothing more is near enough: what is left is looked at as a whole
        micro = joined[micro]
        sums, counts = _folded(joined, sums, counts)
        closest = (closest + 0.63) / 2
    left, right, height = _joins(sums, counts)
    return Tree(left=left, right=right, height=height, micro=micro)


def _within_blocks(sums: Floats, counts: Floats, closest: float) -> Labels:
    found, offset = np.empty(len(sums), np.intp), 0
    for start in range(0, len(sums), BLOCK):
        block = slice(start, start + BLOCK)
        left, right, height = _joins(sums[block], counts[block])
        part = Tree(left=left, right=right, height=height, micro=np.arange(len(sums[block]))).below(closest)
        found[block] = part + offset
        offset += int(part.max()) + 1
    return found


def _folded(labels: Labels, sums: Floats, counts: Floats) -> tuple[Floats, Floats]:
    clusters = int(labels.max()) + 1
    folded = np.zeros((clusters, sums.shape[1]))
    np.add.at(folded, labels, sums)
    return folded, np.bincount(labels, weights=counts, minlength=clusters).astype(np.float64)


def _joins(sums: Floats, counts: Floats) -> tuple[Labels, Labels, Floats]:
    """All joins down to one cluster, each time of the two nearest."""
    sums, counts = sums.astype(np.float64), counts.astype(np.float64)
    total = len(sums)
    left, right, height = np.empty(total - 1, np.intp), np.empty(total - 1, np.intp), np.empty(total - 1)
    distance = 1 - sums @ sums.T / np.outer(counts, counts)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    gap = distance[np.arange(total), nearest]
    gone = np.zeros(total, bool)
    for n in range(total - 1):
        one = int(gap.argmin())
        kept, taken = sorted((one, int(nearest[one])))
        left[n], right[n], height[n] = kept, taken, gap[one]
        sums[kept] += sums[taken]
        counts[kept] += counts[taken]
        gone[taken] = True
        distance[taken] = distance[:, taken] = gap[taken] = np.inf
        row = 1 - sums @ sums[kept] / (counts * counts[kept])
        row[gone], row[kept] = np.inf, np.inf
        distance[kept] = distance[:, kept] = row
        for other in {kept, *np.flatnonzero(~gone & ((nearest == kept) | (nearest == taken))).tolist()}:
            nearest[other] = distance[other].argmin()
            gap[other] = distance[other, nearest[other]]
        nearer = row < gap
        nearest[nearer], gap[nearer] = kept, row[nearer]
    return left, right, np.maximum.accumulate(height)  # rounding alone can make one fall
