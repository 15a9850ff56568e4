"""LocalAgreement-2: what two hypotheses in a row have in common is committed, and never changes again.

After Liu, Spanakis, Niehues: Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis
Selection (Interspeech 2020), as whisper_streaming (Macháček, Dabre, Bojar 2023) uses it for Whisper. Here each hypothesis
begins at the utterance's beginning, so what is committed is found again in the next one before its rest is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.transcript.languages import pieces


@dataclass(frozen=True)
class _Unit:
    """A word, or a letter of a script without blanks. lead: the blanks before it; key: what is compared"""

    lead: str
    text: str
    key: str


class Agreement:
    """Of one utterance. `committed + tail` is the text; `tail` has the blank that stands between them."""

    def __init__(self) -> None:
        self.committed = ""
        self.tail = ""
        self._keys: list[str] = []
        self._rest: list[_Unit] = []

    def add(self, text: str) -> None:
        """The next hypothesis, from the utterance's beginning on."""
        units = _units(text)
        rest = units[_reached(self._keys, [unit.key for unit in units]) :]
        agreed = 0
        while agreed < min(len(rest), len(self._rest)) and rest[agreed].key == self._rest[agreed].key:
            agreed += 1
        for unit in rest[:agreed]:
            self.committed += (unit.lead if self.committed else "") + unit.text
            self._keys.append(unit.key)
        self._rest = rest[agreed:]
        tail = "".join(unit.lead + unit.text for unit in self._rest)
        self.tail = tail if self.committed else tail.lstrip()


def _units(text: str) -> list[_Unit]:
    """Punctuation by itself belongs to the word before it."""
    found: list[_Unit] = []
    lead = ""
    for piece in pieces(text):
        bare = piece.rstrip()
        key = "".join(letter for letter in bare.casefold() if letter.isalnum())
        if found and not key:
            last = found.pop()
            found.append(_Unit(last.lead, last.text + lead + bare, last.key))
        elif bare:
            found.append(_Unit(lead, bare, key))
        lead = piece[len(bare) :]
    return found


def _reached(committed: Sequence[str], keys: Sequence[str]) -> int:
    """How many of the hypothesis's words say what is committed: by the least edit distance, of equals the nearest count."""
    known = len(committed)
    if list(keys[:known]) == list(committed):
        return known
    row = list(range(len(keys) + 1))
    for n, key in enumerate(committed, 1):
        before, row[0] = row[0], n
        for m, other in enumerate(keys, 1):
            before, row[m] = row[m], min(before + (key != other), row[m] + 1, row[m - 1] + 1)
    return min(range(len(row)), key=lambda m: (row[m], abs(m - known)))
