"""How many tokens a text is to a model: as whisper.cpp's `tokenize` (whisper.cpp, 1.8.5) splits it, without the model in memory."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from whisper.models.ggml import GgmlReader

# GPT-2's pattern on bytes: letters beyond ASCII count as signs there
_WORD = re.compile(rb"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


class Tokenizer:
    """tokens: those that the model's file lists"""

    def __init__(self, tokens: Collection[bytes]) -> None:
        self._tokens = frozenset(tokens)
        self._longest = max(map(len, self._tokens), default=1)

    @classmethod
    def of_model(cls, path: Path) -> Tokenizer:
        """Raises ModelInvalid, OSError."""
        with path.open("rb") as file:
            reader = GgmlReader(file)
            reader.header()
            reader.filters()
            return cls(reader.vocabulary())

    def count(self, text: str) -> int:
        return sum(1 for word in _WORD.findall(text.encode("utf-8", "replace")) for _ in self._of_word(word))

    def _of_word(self, word: bytes) -> Iterator[bytes]:
        """The longest token that fits, from the front on; a byte that is none is passed over."""
        start = 0
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                if word[start:end] in self._tokens:
                    yield word[start:end]
                    start = end
                    break
            else:
                start += 1
