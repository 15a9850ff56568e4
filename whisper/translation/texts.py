"""What is to be held against any translator's answer, and which texts it need not be asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.errors import TranslationFailed

_LONGER, _MORE = 10, 200
"""A translation has at most so many times the characters, and so many more: what goes on and on is none."""


def translated(texts: Sequence[str], ask: Callable[[list[str]], Sequence[object]]) -> list[str]:
    """What `ask` makes of texts, in order: each is asked for once, and those without a letter or digit not at all.

    Raises TranslationFailed for an answer that is none, and what `ask` does.
    """
    wanted = list(dict.fromkeys(text for text in texts if any(map(str.isalnum, text))))
    if not wanted:
        return list(texts)
    answers = ask(wanted)
    if len(answers) != len(wanted):
        raise TranslationFailed(f"{len(wanted)} texts were sent, and {len(answers)} came back.")
    found = {text: _checked(text, answer) for text, answer in zip(wanted, answers, strict=True)}
    return [found.get(text, text) for text in texts]


def _checked(text: str, answer: object) -> str:
    if not isinstance(answer, str) or not answer.strip():
        raise TranslationFailed("An empty translation came back.")
    if len(answer) > _LONGER * len(text) + _MORE:
        raise TranslationFailed(f"The translation of {len(text)} characters has {len(answer)}.")
    return answer.strip()
