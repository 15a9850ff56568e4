"""When subtitles come and go: whole numbers in, whole numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(kw_only=True)
class _Group:
    """Texts of one moment, which share what there is; mostly one alone."""

    start: int
    end: int
    count: int
    least: int
    want: int

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def missing(self) -> int:
        return max(0, self.least - self.length)


def cue_times(spoken: Sequence[tuple[int, int, int]], *, least: int, most: int, end: int) -> list[tuple[int, int]]:
    """(start, end) of the cues for texts that are spoken from `start` to `end` and want to stay for `want`.

    All of them in one unit. They are in order, do not overlap, last at least 1 and at most `most`, and lie in
    [0, end], if that has room for them all. A cue stays longer than it is spoken, for `want`, as long as nothing else is
    said; for `least` it may also come earlier, or take from a neighbour what that does not want for itself.
    """
    groups = _groups(spoken, least, most, end)

    def stay(n: int) -> None:
        room = groups[n + 1].start if n + 1 < len(groups) else end
        groups[n].end = max(groups[n].end, min(groups[n].start + groups[n].want, room))

    for n in range(len(groups)):
        stay(n)
    for n, group in enumerate(groups):
        stay(n)  # it may have given something away
        group.start = max(groups[n - 1].end if n else 0, min(group.start, group.end - group.least))
        before = groups[n - 1] if n else None
        after = groups[n + 1] if n + 1 < len(groups) else None
        for share in (False, True):
            if before and before.end == group.start:
                before.end = group.start = group.start - _spare(before, group, share)
            if after and after.start == group.end:
                after.start = group.end = group.end + _spare(after, group, share)
    times = [
        (group.start + group.length * i // group.count, group.start + group.length * (i + 1) // group.count)
        for group in groups
        for i in range(group.count)
    ]
    return _apart(times, end)


def _groups(spoken: Sequence[tuple[int, int, int]], least: int, most: int, end: int) -> list[_Group]:
    starts, reached = [], 0
    for start, _, _ in spoken:
        reached = max(reached, min(start, end))
        starts.append(reached)
    groups: list[_Group] = []
    for n, (start, (_, stop, want)) in enumerate(zip(starts, spoken, strict=True)):
        following = starts[n + 1] if n + 1 < len(starts) else end
        stop = max(start, min(stop, following, start + most))  # noqa: PLW2901
        want = max(least, min(want, most))  # noqa: PLW2901
        if groups and groups[-1].start == groups[-1].end == start == stop:
            groups[-1].count += 1
            groups[-1].least += least
            groups[-1].want += want
        else:
            groups.append(_Group(start=start, end=stop, count=1, least=least, want=want))
    return groups


def _spare(giver: _Group, taker: _Group, share: bool) -> int:
    """What one can give to the other. share: half of all it has, to one that has nothing"""
    if share:
        return min(taker.missing, giver.length // 2) if taker.length < taker.count else 0
    return min(taker.missing, max(0, giver.length - giver.want))


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
