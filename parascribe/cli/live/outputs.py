"""Where the text of streams goes: to the eye, to programs, into subtitles that grow."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from core.live.events import End, Event, Final, Partial, Ready, Translation
from core.transcript.formats import FORMATS, TextFormat
from core.transcript.values import Language, Segment, Transcript
from parascribe.screen.render import printable

_CLEAR, _DIM, _PLAIN = "\r\x1b[K", "\x1b[2m", "\x1b[0m"
_NUMBER = re.compile(r"^\d+\n(?=\d+:\d\d:\d\d,\d)", re.MULTILINE)


class Output(Protocol):
    """source: the name of the stream's; "" where there is one alone"""

    def told(self, source: str, event: Event) -> None: ...

    def close(self) -> None: ...


class Lines:
    """Finals, a line each, with their translations below."""

    def told(self, source: str, event: Event) -> None:
        before = f"[{printable(source)}] " if source else ""
        match event:
            case Final(text=text) if text.strip():
                self._line(f"{before}{_voice(event)}{printable(text.strip())}")
            case Translation(text=str(text)):
                self._line(f"{before}  -> {printable(text.strip())}")
            case Translation(error=str(code)):
                self._line(f"{before}  -> ({code})")

    def close(self) -> None: ...

    def _line(self, text: str) -> None:
        print(text, flush=True)


class Screen(Lines):
    """The same for one stream, and below it the line that is still being spoken: what may change is shown dim."""

    def told(self, source: str, event: Event) -> None:
        if isinstance(event, Ready):
            sys.stdout.write(f"{_CLEAR}{_DIM}Listening; Ctrl-C ends it.{_PLAIN}")
            sys.stdout.flush()
        elif isinstance(event, Partial):
            width = shutil.get_terminal_size().columns - 1
            voice, tail = _voice(event), printable(event.tail)[-width:]
            room = max(0, width - len(tail) - len(voice))
            committed = printable(event.committed)
            sys.stdout.write(f"{_CLEAR}{voice}{committed[max(0, len(committed) - room) :]}{_DIM}{tail}{_PLAIN}")
            sys.stdout.flush()
        else:
            super().told(source, event)

    def close(self) -> None:
        sys.stdout.write(_CLEAR)
        sys.stdout.flush()

    def _line(self, text: str) -> None:
        super()._line(f"{_CLEAR}{text}")


class JsonLines:
    """Each event as it comes, with its `source` where there are several."""

    def told(self, source: str, event: Event) -> None:
        print(json.dumps(({"source": source} if source else {}) | event.to_dict()), flush=True)

    def close(self) -> None: ...


class Subtitles:
    """A file that grows by each final, and is whole at every moment; what it was before stays until the stream begins. Raises OSError."""

    def __init__(self, path: Path, kind: TextFormat) -> None:
        self._kind, self._cues, self._begun = kind, 0, False
        self._path, self._is_new = path, not path.exists()
        self._file = path.open("a", encoding="utf-8", newline="")

    def told(self, source: str, event: Event) -> None:
        if not self._begun:
            self._begun = True
            with contextlib.suppress(OSError):  # a pipe has nothing to be overwritten
                self._file.truncate(0)
            self._write("WEBVTT\n" if self._kind == "vtt" else "")
        if not isinstance(event, Final) or not event.text.strip():
            return
        channel = None if event.channel is None else f"Channel {event.channel}"
        segment = Segment(
            start=event.start,
            end=event.end,
            text=event.text,
            words=tuple(event.words),
            speaker=event.speaker or channel,
            language=event.language,
        )
        language = Language(code=event.language, confidence=1.0)
        alone = Transcript(segments=(segment,), language=language, duration=event.end, model="")
        text = FORMATS[self._kind].render(alone)
        self._write(text.removeprefix("WEBVTT\n") if self._kind == "vtt" else _NUMBER.sub(self._next, text))

    def close(self) -> None:
        self._file.close()
        if self._is_new and not self._begun:
            self._path.unlink(missing_ok=True)

    def _next(self, _: re.Match[str]) -> str:
        self._cues += 1
        return f"{self._cues}\n"

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


class Remarks:
    """What else there is to be said, on stderr."""

    def told(self, source: str, event: Event) -> None:
        about = f"{printable(source)}: " if source else ""
        match event:
            case Ready(warnings=[_, *_]):
                for warning in event.warnings:
                    self._note(f"{about}{warning.get('message', warning)}")
            case End(job=str(job)):
                self._note(f"{about}job {job}")

    def close(self) -> None: ...

    def _note(self, text: str) -> None:
        from parascribe.cli.commands.common import note

        note(text)


def tell(outputs: Sequence[Output], source: str, event: Event) -> None:
    for output in outputs:
        output.told(source, event)


def _voice(event: Final | Partial) -> str:
    return "" if event.channel is None else f"Channel {event.channel}: "
