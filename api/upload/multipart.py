"""A multipart/form-data body taken apart while it arrives: what comes in is handed out at once, nothing is kept.

python-multipart's parser does the work; this turns its callbacks into values and its failures into
ValidationFailed, and bounds what a hostile body can make of it (parts, headers, part names). File names
are read in every spelling that clients have for them (`api.upload.filenames`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.upload.filenames import filename_of
from core.errors import ValidationFailed

MAX_PARTS = 64
MAX_NAME = 100


@dataclass(frozen=True, kw_only=True)
class PartStart:
    """A part begins. filename: None for a plain field."""

    name: str
    filename: str | None


@dataclass(frozen=True, kw_only=True)
class PartData:
    """Some of the current part's bytes."""

    data: bytes


@dataclass(frozen=True, kw_only=True)
class PartEnd:
    """The current part is complete."""


Event = PartStart | PartData | PartEnd


def boundary_of(content_type: str) -> bytes:
    """The boundary named in a Content-Type header. Raises ValidationFailed when this is no multipart form."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        message = 'expected multipart/form-data with a part named "file", as `curl -F file=@talk.mp3` sends it'
        raise ValidationFailed(message, errors=[{"field": "Content-Type", "message": message}])
    return boundary


class MultipartReader:
    """Feed it the body piece by piece; each piece gives the events that it completed.

    All methods raise ValidationFailed for a body that is not well-formed.
    """

    def __init__(self, boundary: bytes) -> None:
        self._events: list[Event] = []
        self._header = self._value = b""
        self._disposition = b""
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _malformed(error) from None

    def feed(self, data: bytes) -> Iterator[Event]:
        """Parse the next piece of the body; what has been parsed before an error in it is still handed out."""
        failure: Exception | None = None
        try:
            self._parser.write(data)
        except (FormParserError, ValidationFailed) as error:
            failure = error
        events, self._events = self._events, []
        yield from events
        if failure is not None:
            raise failure if isinstance(failure, ValidationFailed) else _malformed(failure) from None

    def finish(self) -> None:
        """The body has ended: is the form complete?"""
        if not self._ended:
            raise _malformed("it ends before its closing boundary")

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _malformed(f"it has more than {MAX_PARTS} parts")
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or not name or len(name) > MAX_NAME:
            raise _malformed("a part has no (or too long a) name in its Content-Disposition")
        filename = filename_of(self._disposition, options.get(b"filename"))
        self._events.append(PartStart(name=name.decode("utf-8", errors="replace"), filename=filename))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data=data[start:end]))

    def _part_end(self) -> None:
        self._events.append(PartEnd())

    def _end(self) -> None:
        self._ended = True


def _malformed(reason: object) -> ValidationFailed:
    message = f"the form is malformed: {reason}"
    return ValidationFailed(message, errors=[{"field": "body", "message": message}])
