"""Which language a chunk is decoded in: one for the whole job, by its first windows, unless a chunk clearly speaks another.

Independent chunks must agree on the language, or a name or a quotation flips one of them. But a file may hold two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from core.audio.samples import SAMPLE_RATE
from core.notices import Notice
from core.transcript.languages import LANGUAGES
from core.transcript.merge import LOW_LOGPROB
from core.transcript.values import Language, Segment

WINDOWS = 3
"""The language is voted on by up to so many windows with speech..."""

SURE = 0.9
"""...but one window that is so sure is enough, and so are two that agree."""

FLOOR = 0.5
"""Below this probability a language is a guess: the installation's usual ones (LANGUAGES) are preferred, or the user is told."""

NEARLY = 4
"""Where no usual ones are named, English is taken for a guess that is less than so many times as likely: noisy or very
short English is heard as Latin, Arabic or Welsh with 10 to 40 %, and hardly less as English."""

CLEAR = 0.8
"""A chunk is in another language than its job when that is at least so probable."""

LONG_ENOUGH = 2 * SAMPLE_RATE
"""Samples from which a chunk may differ from its job: a word or two may be a name."""


class LanguageVote:
    """Freezes a job's language on its first windows.

    usual: codes of the installation's usual languages, the first of them first; may be empty
    """

    def __init__(self, usual: Sequence[str] = ()) -> None:
        self._usual = tuple(usual)
        self._sums, self._best = Counter[str](), Counter[str]()
        self._strongest = 0.0
        self._windows = 0

    @property
    def guess(self) -> str:
        """What the first window is decoded in while nothing is known: costs nothing if it is right."""
        return self._usual[0] if self._usual else "en"

    @property
    def decided(self) -> bool:
        return self._strongest >= SURE or self._windows >= WINDOWS or any(n >= 2 for n in self._best.values())

    def add(self, probabilities: Mapping[str, float]) -> None:
        """The next window's evidence; without any (an engine that failed) it has no vote."""
        self._windows += 1
        if not probabilities:
            return
        self._sums.update(probabilities)
        best = max(probabilities, key=lambda code: probabilities[code])
        self._best[best] += 1
        self._strongest = max(self._strongest, probabilities[best])

    def result(self) -> Language | None:
        """The language with the largest sum, or None without any evidence."""
        voters = self._best.total()
        if not voters:
            return None
        code, total = self._sums.most_common(1)[0]
        if self._strongest < FLOOR:
            likelier = max(self._usual or [self.guess], key=lambda usual: self._sums[usual])  # the first of equals
            if self._usual or self._sums[likelier] * NEARLY >= total:
                code, total = likelier, self._sums[likelier]
        return Language(code=code, confidence=round(total / voters, 4))


def own_language(job: str, probabilities: Mapping[str, float], samples: int) -> str:
    """The language to decode some audio in: the job's, unless the audio is clearly in another."""
    if samples < LONG_ENOUGH or not probabilities:
        return job
    best = max(probabilities, key=lambda code: probabilities[code])
    return best if probabilities[best] >= CLEAR else job


def notices(
    segments: Sequence[Segment],
    language: Language | None,
    *,
    asked: str | None,
    heard: Mapping[str, int],
    multilingual: bool = True,
) -> list[Notice]:
    """What the user should know about languages.

    multilingual: whether the model knows more than English
    asked: the language that the user named; heard: chunks by the language that each clearly was
    """
    found = []
    if language and asked is None and language.confidence < FLOOR:
        found.append(
            Notice(
                code="language_unsure",
                message=f"The language was guessed as {language.code} with {language.confidence:.0%}; name it if that is wrong.",
            )
        )
    others = {s.language for s in segments if s.language and language and s.language != language.code}
    if others:
        names = ", ".join(sorted(LANGUAGES.get(code, code).capitalize() for code in others))
        found.append(
            Notice(
                code="mixed_languages", message=f"Parts are in another language ({names}) and were transcribed in it."
            )
        )
    most = max(heard, key=lambda code: heard[code], default=None)
    if asked and most not in (None, asked) and heard[most] > sum(heard.values()) / 2:
        found.append(
            Notice(
                code="language_mismatch",
                message=f"The speech sounds like {LANGUAGES.get(most, most).capitalize()}, but was decoded as {LANGUAGES.get(asked, asked).capitalize()}, as asked.",
            )
        )
    if not multilingual and _doubtful(segments):
        found.append(
            Notice(
                code="english_only",
                message="The model knows English only and doubts most of what it wrote: if this is another language, use a multilingual one, such as base.",
            )
        )
    return found


def _doubtful(segments: Sequence[Segment]) -> bool:
    """Whether the text as a whole is below the limit for a single segment. What tiny.en makes of French and Chinese is at
    -0.52 to -0.74; so is one in ten noisy clips of English."""
    letters = sum(len(s.text) for s in segments)
    return letters > 0 and sum((s.avg_logprob or 0.0) * len(s.text) for s in segments) / letters < LOW_LOGPROB
