"""Subtitles: what players show while the media run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.transcript.shaping import Shaping
from core.transcript.subtitles.cues import Cue, cues
from core.transcript.subtitles.lines import right_to_left
from core.transcript.values import Transcript

_ARROW = re.compile("--+>")
"""What separates times in SubRip and must not stand in its text."""
_EMBEDDED, _POPPED = "\u202b", "\u202c"
"""RIGHT-TO-LEFT EMBEDDING and its end, which older players know too (UAX #9)."""
_ARABIC_CHARSET, _DEFAULT_CHARSET = 178, 1
"""`Encoding` of an ASS style: with the first, libass and VSFilter lay lines out from right to left."""


def clock(ms: int, point: str) -> str:
    """`01:02:03,456`; more than 99 hours have three digits."""
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"


def srt(transcript: Transcript, shaping: Shaping) -> str:
    """SubRip has no escapes: an arrow inside the text would end the cue for some players.

    Its players take every line to go from left to right: one that does not says so.
    """
    return "".join(
        f"{n}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n"
        + "".join(f"{_directed(_ARROW.sub('->', line))}\n" for line in cue.texts)
        + "\n"
        for n, cue in enumerate(cues(transcript, shaping), 1)
    )


def _directed(line: str) -> str:
    return f"{_EMBEDDED}{line}{_POPPED}" if right_to_left(line) else line


def vtt(transcript: Transcript, shaping: Shaping) -> str:
    """W3C WebVTT: `&`, `<` and `>` are markup, and the direction of a line follows from its letters.

    Speakers are voices (`<v Anna>`); with `word_cues` a time stands before each word.
    """
    found = ["WEBVTT\n"]
    for cue in cues(transcript, shaping, voices=True):
        found.append(f"\n{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n")
        voice = f"<v {_markup(' '.join(cue.speaker.split()))}>" if cue.speaker else ""
        lines = _karaoke_lines(cue) if shaping.word_cues else map(_markup, cue.texts)
        found.append(voice + "\n".join(lines) + "\n")
    return "".join(found)


def _markup(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _karaoke_lines(cue: Cue) -> Iterator[str]:
    """Times only grow and lie within the cue (WebVTT 3.4); of a word at its very start nothing needs to be said."""
    reached = cue.start
    for line in cue.lines:
        text = ""
        for bit in line:
            if bit.start is not None and reached < bit.start < cue.end:
                reached = bit.start
                text += f"<{clock(reached, '.')}>"
            text += _markup(bit.text)
        yield text.rstrip()


def ass(transcript: Transcript, shaping: Shaping) -> str:
    """Advanced SubStation Alpha 4.00+, in hundredths of a second. Speakers are in the field Name; `word_cues`: karaoke."""
    found = cues(transcript, shaping, tick=10, voices=True)
    charset = (
        _ARABIC_CHARSET if right_to_left("".join(text for cue in found for text in cue.texts)) else _DEFAULT_CHARSET
    )
    return _ASS_HEAD.format(charset=charset) + "".join(
        f"Dialogue: 0,{_ass_clock(cue.start)},{_ass_clock(cue.end)},Default,{_ass_name(cue)},0,0,0,,"
        + "\\N".join(_ass_karaoke(cue) if shaping.word_cues else map(_ass_text, cue.texts))
        + "\n"
        for cue in found
    )


_ASS_HEAD = """[Script Info]
ScriptType: v4.00+
WrapStyle: 2
ScaledBorderAndShadow: yes
PlayResX: 1920
PlayResY: 1080

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,64,&H00FFFFFF,&H00A0A0A0,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,60,60,50,{charset}

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def _ass_clock(ms: int) -> str:
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000 // 10:02d}"


def _ass_name(cue: Cue) -> str:
    return " ".join((cue.speaker or "").replace(",", " ").split())


def _ass_text(text: str) -> str:
    """As ffmpeg escapes it (`ff_ass_bprint_text_event`): ASS itself has no escapes, libass knows that of the brace alone."""
    return text.replace("\\", "\\\u2060").replace("{", "\\{{}")


def _ass_karaoke(cue: Cue) -> Iterator[str]:
    r"""`{\k50}` before a word: for how many hundredths it is being said, until the next begins."""
    starts = [cue.start]
    for line in cue.lines:
        starts += [max(starts[-1], min(bit.start, cue.end)) for bit in line if bit.start is not None]
    ends = iter([*starts[2:], cue.end])
    began = iter(starts[1:])
    lead = _ass_length(cue.start, starts[1]) if len(starts) > 1 and starts[1] > cue.start else ""
    for line in cue.lines:
        text, lead = lead, ""
        for bit in line:
            said = _ass_length(next(began), next(ends)) if bit.start is not None else ""
            text += said + _ass_text(bit.text)
        yield text.rstrip()


def _ass_length(start: int, end: int) -> str:
    return f"{{\\k{end // 10 - start // 10}}}"


def lrc(transcript: Transcript, _: Shaping) -> str:
    """LRC lyrics, a segment a line: minutes (they do not turn into hours), seconds, hundredths."""
    lines = (
        (max(0, round(segment.start * 1000)), text)
        for segment in transcript.segments
        if (text := " ".join(segment.text.split()))
    )
    return "".join(f"[{ms // 60_000:02d}:{ms // 1000 % 60:02d}.{ms % 1000 // 10:02d}]{text}\n" for ms, text in lines)
