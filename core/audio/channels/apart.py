"""The channels of a recording that are each listened to by themselves (a job's `channels=split`)."""

from __future__ import annotations

from core.audio.samples import Pcm
from core.notices import Notice

MOST_CHANNELS = 8
"""More are no voices of their own: sound for cinemas has eight (7.1), field recorders that have more are mixed before."""


class Channels:
    """How many there are, and from where on each is another than those before it. Filled by one thread, read by others."""

    def __init__(self, count: int) -> None:
        self.count = count
        #: by channel: the earlier ones that it has been the same as so far
        self._same = [set(range(channel)) for channel in range(count)]
        self._apart = [0] + [-1] * (count - 1)
        self._silent = [True] * count

    def add(self, pcm: Pcm, start: int) -> None:
        """The next samples, shape (n, count); the first of them is sample `start`."""
        for channel, same in enumerate(self._same):
            self._silent[channel] = self._silent[channel] and not pcm[:, channel].any()
            for other in tuple(same):
                unequal = pcm[:, channel] != pcm[:, other]
                if unequal.any():
                    self._apart[channel] = max(self._apart[channel], start + int(unequal.argmax()))
                    same.discard(other)  # last: who reads along looks at it first

    def is_apart(self, channel: int, end: int) -> bool:
        """Whether one of its samples before `end`, all of which are there, is not that of an earlier channel."""
        return not self._same[channel] and self._apart[channel] < end

    def notices(self) -> tuple[Notice, ...]:
        """What to say of the whole recording."""
        copies = [
            n for n, (same, silent) in enumerate(zip(self._same, self._silent, strict=True)) if same and not silent
        ]
        which = ", ".join(map(str, copies))
        return (not_split(f"what is the same as an earlier channel is told once (channel {which})"),) if copies else ()


def not_split(why: str) -> Notice:
    """The warning that `channels=split` does less than it says."""
    return Notice(code="not_split", message=f"Not all is split into channels: {why}.")


def too_few_or_many(count: int) -> Notice:
    """The same of a recording that is listened to as `mix`."""
    if count < 2:
        return not_split("the recording has one, and was heard as with channels=mix")
    return not_split(f"the recording has {count}, and at most {MOST_CHANNELS} are; it was heard as with channels=mix")
