"""Audio and text in pieces: what other people's live protocols have in common."""

from __future__ import annotations


class Whole:
    """Samples in any pieces, cut so that no frame is torn. frame: bytes of one sample of every channel"""

    def __init__(self, frame: int) -> None:
        self._frame, self._rest = frame, b""

    def of(self, audio: bytes) -> bytes:
        """What can be passed on now."""
        audio = self._rest + audio
        end = len(audio) - len(audio) % self._frame
        self._rest = audio[end:]
        return audio[:end]


class Growing:
    """A text of which more and more is certain: gives what is new, so that the pieces put together are the text."""

    def __init__(self) -> None:
        self.told = ""

    def more(self, text: str) -> str:
        """What follows what was told; nothing where it was told otherwise."""
        if not text.startswith(self.told):
            return ""
        new, self.told = text[len(self.told) :], text
        return new
