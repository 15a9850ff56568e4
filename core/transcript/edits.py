"""What people change in a transcript: segments as they want them, and what speakers are called. Pure functions.

What a model has said of a text (probabilities, flags, times of words) is kept only for as long as the text is that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.errors import NotInResult, refusal
from core.transcript.values import Segment, Speaker, SpeakerTurn, Transcript, Word

MOST_ERRORS = 20
"""Named at once."""

NO_SPEAKERS = "Nobody listened for who speaks in this job (no diarize): there are no speakers."


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One segment as it shall be. Seconds are floats."""

    start: float
    end: float
    text: str
    #: place, from 0, of the segment in the transcript before that this one was; None: it is new
    id: int | None = None
    #: `speaker` and `translation`, as far as they are given; the rest stays (of a new one: None)
    more: Mapping[str, str | None] = field(default_factory=dict)


def edited(before: Transcript, edits: Sequence[Edit]) -> Transcript:
    """The transcript with these segments and no others.

    Raises ValidationFailed, naming `segments.N.FIELD`: times that run backwards or beyond the end, a segment that is not
    there or is used twice, an unknown speaker, a text without a letter.
    """
    if problems := list(_first(_problems(before, edits))):
        raise refusal(*problems)
    segments = tuple(_segment(before, edit) for edit in edits)
    if segments == before.segments:
        return before
    speakers = None if before.speakers is None else tuple(_counted(one, segments) for one in before.speakers)
    turns = before.turns if _who(segments) == _who(before.segments) else ()
    return replace(before, segments=segments, speakers=speakers, turns=turns)


def _who(segments: Sequence[Segment]) -> list[tuple[float, float, str | None]]:
    return [(one.start, one.end, one.speaker) for one in segments]


def renamed(before: Transcript, names: Mapping[str, str]) -> Transcript:
    """The transcript with other names for speakers, by their ids; who is given another's id is that other.

    Raises NotInResult without speakers, ValidationFailed.
    """
    if before.speakers is None:
        raise NotInResult(NO_SPEAKERS)
    known = {speaker.id for speaker in before.speakers}
    there = f"there is {', '.join(sorted(known))}" if known else "one voice alone has no label"
    unknown = [{"field": name, "message": f"no such speaker: {there}"} for name in names if name not in known]
    blank = [{"field": name, "message": "a name has letters"} for name, given in names.items() if not given.strip()]
    same = {one: given for one, given in names.items() if given in known and given != one}
    chains = [
        {"field": one, "message": f"{other} is to be somebody else"} for one, other in same.items() if other in same
    ]
    if problems := [*unknown, *blank, *chains][:MOST_ERRORS]:
        raise refusal(*problems)
    segments = tuple(_of(segment, same) for segment in before.segments) if same else before.segments
    named = (replace(one, name=names.get(one.id, one.name).strip()) for one in before.speakers if one.id not in same)
    speakers = tuple(_counted(one, segments) if same else one for one in named)
    turns = _turns_of(before.turns, same) if same else before.turns
    return replace(before, segments=segments, speakers=speakers, turns=turns)


def _turns_of(turns: Sequence[SpeakerTurn], same: Mapping[str, str]) -> tuple[SpeakerTurn, ...]:
    """With other ids: nobody speaks twice at once."""
    found: list[SpeakerTurn] = []
    last: dict[str, int] = {}
    for turn in turns:
        speaker = same.get(turn.speaker, turn.speaker)
        at = last.get(speaker)
        if at is not None and turn.start <= found[at].end:
            found[at] = replace(found[at], end=max(found[at].end, turn.end))
        else:
            last[speaker] = len(found)
            found.append(replace(turn, speaker=speaker))
    return tuple(found)


def _of(segment: Segment, same: Mapping[str, str]) -> Segment:
    """With other ids of speakers: key is now value."""
    if segment.speaker is None:
        return segment
    words = tuple(_word_of(word, same) for word in segment.words)
    return replace(segment, speaker=same.get(segment.speaker, segment.speaker), words=words)


def _word_of(word: Word, same: Mapping[str, str]) -> Word:
    together = tuple(dict.fromkeys(same.get(one, one) for one in word.speakers))
    speaker = same.get(word.speaker, word.speaker) if word.speaker else None
    return replace(word, speaker=speaker, speakers=together if len(together) > 1 else ())


def _first(problems: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
    for _, problem in zip(range(MOST_ERRORS), problems, strict=False):
        yield problem


def _problems(before: Transcript, edits: Sequence[Edit]) -> Iterator[dict[str, str]]:
    speakers = {speaker.id for speaker in before.speakers or ()}
    used: set[int] = set()
    reached = 0.0
    for n, edit in enumerate(edits):

        def wrong(name: str, message: str, n: int = n) -> dict[str, str]:
            return {"field": f"segments.{n}.{name}", "message": message}

        old = _before(before, edit)
        if edit.id is not None and (old is None or edit.id in used):
            yield wrong("id", "given twice" if old else "there is no such segment in the revision that was edited")
        if edit.id is not None:
            used.add(edit.id)
        as_it_was = old is not None and (edit.start, edit.end) == (old.start, old.end)
        if edit.start < reached:
            yield wrong("start", f"before that of the segment before it ({reached:g})")
        if not as_it_was and edit.end < edit.start:
            yield wrong("end", f"before its start ({edit.start:g})")
        if not as_it_was and edit.end > before.duration:
            yield wrong("end", f"after the end of the recording ({before.duration:g})")
        reached = max(reached, edit.start)
        if not edit.text.strip() and not (old and old.text == edit.text):
            yield wrong("text", "nothing is said here: leave the segment out")
        speaker = edit.more.get("speaker")
        if speaker is not None and speaker not in speakers:
            yield wrong("speaker", "there is no such speaker" if before.speakers is not None else NO_SPEAKERS)
        if edit.more.get("translation") is not None and before.translation is None:
            yield wrong("translation", "this job has no translation")


def _before(before: Transcript, edit: Edit) -> Segment | None:
    there = edit.id is not None and 0 <= edit.id < len(before.segments)
    return before.segments[edit.id] if edit.id is not None and there else None


def _segment(before: Transcript, edit: Edit) -> Segment:
    old = _before(before, edit)
    values = {"start": edit.start, "end": edit.end, "text": edit.text}
    if old is None:
        return Segment(**values, **edit.more)  # type: ignore[arg-type]  # (each is of its field's type)
    changed = replace(old, **values, **edit.more, words=_words(old, edit))  # type: ignore[arg-type]
    if changed.speaker != old.speaker:  # people have said so
        words = tuple(replace(word, speaker=changed.speaker, speakers=()) for word in changed.words)
        changed = replace(changed, speaker_confidence=None, words=words)
    if old.text == edit.text:
        return changed
    return replace(changed, avg_logprob=None, no_speech_prob=None, compression_ratio=None, flags=())


def _words(old: Segment, edit: Edit) -> tuple[Word, ...]:
    """Those of before where the same is said at the same place: capitals and punctuation may differ. Else none: the times of
    words that nobody has heard would be invented."""
    moved = (old.start, old.end) != (edit.start, edit.end)
    if moved and any(not edit.start <= at <= edit.end for w in old.words for at in (w.start, w.end) if at is not None):
        return ()
    if old.text == edit.text:
        return old.words
    now = edit.text.split()
    if len(now) != len(old.words) or [_letters(w.word) for w in old.words] != [_letters(word) for word in now]:
        return ()
    blanks = [" " if word.word.startswith(" ") else "" for word in old.words]
    return tuple(replace(word, word=blank + text) for word, blank, text in zip(old.words, blanks, now, strict=True))


def _letters(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())


def _counted(speaker: Speaker, segments: Sequence[Segment]) -> Speaker:
    seconds = sum(one.end - one.start for one in segments if one.speaker == speaker.id)
    return replace(speaker, seconds=round(seconds, 3))
