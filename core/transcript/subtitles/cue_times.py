"""When subtitles come and go: whole numbers in, whole numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(kw_only=True)
class _Group:
    """Texts that share the time there is for them; mostly one alone. wants: what each would like; least: of them all."""

    start: int
    end: int
    wants: list[int]
    least: int

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def want(self) -> int:
        return sum(self.wants)

    @property
    def missing(self) -> int:
        return max(0, self.least - self.length)

    @property
    def squeezed(self) -> bool:
        return 2 * self.length < self.least


def cue_times(spoken: Sequence[tuple[int, int, int]], *, least: int, most: int, end: int) -> list[tuple[int, int]]:
    """(start, end) of the cues for texts that are spoken from `start` to `end` and want to stay for `want`.

    All of them in one unit. They are in order, do not overlap, last at least 1 and at most `most`, and lie in
    [0, end], if that has room for them all. A cue stays longer than it is spoken, for `want`, as long as nothing else is
    said; for `least` it may also come earlier, or take from a neighbour what that does not want for itself. Where several
    close together have far too little, they share.
    """
    groups = _groups(spoken, least, most, end)
    for n in range(len(groups)):
        _stay(groups, n, end)
    groups = _pooled(groups)
    for n, group in enumerate(groups):
        _stay(groups, n, end)  # it may have given something away
        group.start = max(groups[n - 1].end if n else 0, min(group.start, group.end - group.least))
        before = groups[n - 1] if n else None
        after = groups[n + 1] if n + 1 < len(groups) else None
        for share in (False, True):
            if before and before.end == group.start:
                before.end = group.start = group.start - _spare(before, group, share)
            if after and after.start == group.end:
                after.start = group.end = group.end + _spare(after, group, share)
    return _apart([span for group in groups for span in _shared(group)], end)


def _groups(spoken: Sequence[tuple[int, int, int]], least: int, most: int, end: int) -> list[_Group]:
    starts = list(accumulate((min(start, end) for start, _, _ in spoken), max, initial=0))[1:]
    groups = []
    for n, (_, stop, want) in enumerate(spoken):
        following = starts[n + 1] if n + 1 < len(starts) else end
        stop = max(starts[n], min(stop, following, starts[n] + most))  # noqa: PLW2901
        groups.append(_Group(start=starts[n], end=stop, wants=[max(least, min(want, most))], least=least))
    return groups


def _stay(groups: list[_Group], n: int, end: int) -> None:
    group = groups[n]
    room = groups[n + 1].start if n + 1 < len(groups) else end
    group.end = max(group.end, min(group.start + group.want, room))


def _pooled(groups: list[_Group]) -> list[_Group]:
    """One group of those that touch and have too little, if one of them has less than half."""
    found: list[_Group] = []
    for group in groups:
        found.append(group)
        while len(found) > 1:
            one, two = found[-2:]
            too_little = one.missing and two.missing and (one.squeezed or two.squeezed)
            if not (too_little and one.end == two.start):
                break
            wants = one.wants + two.wants
            found[-2:] = [_Group(start=one.start, end=two.end, wants=wants, least=one.least + two.least)]
    return found


def _spare(giver: _Group, taker: _Group, share: bool) -> int:
    """What one can give to the other. share: half of all it has, to one that has nothing"""
    if share:
        return min(taker.missing, giver.length // 2) if taker.length < len(taker.wants) else 0
    return min(taker.missing, max(0, giver.length - giver.want))


def _shared(group: _Group) -> list[tuple[int, int]]:
    ends = [group.start + group.length * some // group.want for some in accumulate(group.wants)]
    return list(pairwise([group.start, *ends]))


def _apart(times: list[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    """Whatever is still without length gets 1."""
    found, reached = [], 0
    for start, stop in times:
        start = max(start, reached)  # noqa: PLW2901
        reached = max(stop, start + 1)
        found.append((start, reached))
    if len(times) > end:
        return found  # more texts than there is time for
    limit = end
    for n in range(len(found) - 1, -1, -1):
        stop = min(found[n][1], limit)
        limit = min(found[n][0], stop - 1)
        found[n] = (limit, stop)
    return found
