"""What the model is told before every chunk: the job's prompt, and behind it the words to expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whisper.models.tokens import Tokenizer
from worker.context.work import Work

TOKENS = 224
"""The model keeps so many of a prompt, the last ones: half of its text context (whisper.cpp, `whisper_full_with_state`)."""

NAMED = 10
"""So many words that were left out are named one by one."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """text: all of it; left_out: the words that had no room, in order; cut: the beginning of the job's own prompt has none"""

    text: str | None
    left_out: tuple[str, ...] = ()
    cut: bool = False


def prompt_of(prompt: str | None, words: Sequence[str], count: Callable[[str], int]) -> Prompt:
    """The words go before the prompt's beginning where both have no room, and among them the first before the last.

    count: tokens of a text
    """
    kept = len(words)
    while kept and count(_listed(words[:kept])) > TOKENS:
        kept -= 1
    text = (prompt or "").rstrip() + _listed(words[:kept]) if kept else prompt
    return Prompt(text=text, left_out=tuple(words[kept:]), cut=bool(prompt and kept and count(text or "") > TOKENS))


def tell_model(work: Work) -> None:
    """Set the run's prompt, and warn of what the model will not hear of it."""
    params = work.job.params
    work.prompt = params.prompt
    if not params.vocabulary:
        return
    made = prompt_of(params.prompt, params.vocabulary, Tokenizer.of_model(work.model.path).count)
    work.prompt = made.text
    if lost := made.left_out:
        which = ", ".join(lost[:NAMED]) + (f" and {len(lost) - NAMED} more" if len(lost) > NAMED else "")
        some = f"{len(lost)} of {len(params.vocabulary)} words"
        work.warn("vocabulary_cut", f"The model keeps {TOKENS} tokens of a prompt; {some} had no room in it: {which}.")
    if made.cut:
        work.warn(
            "prompt_long",
            f"The model keeps {TOKENS} tokens of a prompt; before the vocabulary its beginning had no room.",
        )


def _listed(words: Sequence[str]) -> str:
    # as in a running text, whose words are tokens with their blank (openai-whisper puts one before a prompt)
    return f" {', '.join(words)}."
