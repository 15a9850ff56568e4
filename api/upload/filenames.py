"""The name of an uploaded file, from every spelling of it that clients send.

RFC 7578 wants plain UTF-8 in `filename` and forbids `filename*`; the latter (RFC 5987, RFC 8187, RFC 2231's numbered
pieces) comes from HTTP libraries all the same and is then the exact one, so it goes first. Mail libraries write RFC 2047
(`=?utf-8?B?...?=`), browsers write a quote as `%22` (WHATWG HTML, "multipart/form-data"), others escape all of the name.
"""

from __future__ import annotations

import re
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from urllib.parse import unquote_to_bytes

_ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[bq]\?[^?\s]*\?=", re.IGNORECASE)
_PERCENT = re.compile(r"(?:[^%]|%[0-9a-f]{2})*", re.IGNORECASE)
"""Only escapes: a name with any other `%` in it means them all as they are."""

_UNREADABLE = (LookupError, MessageError, TypeError, ValueError)
"""What the standard library raises of names that make no sense: unknown charsets, NULs in their names, pieces out of order."""


def filename_of(disposition: bytes, plain: bytes | None) -> str | None:
    """The file name in a part's Content-Disposition, not cleaned yet; None for a part without one.

    plain: the value of its `filename`, out of its quotes
    """
    exact = _extended(disposition.decode("latin-1"), alone=plain is None) if b"*" in disposition else None
    return exact if plain is None or exact else _plain(plain)


def _extended(disposition: str, *, alone: bool) -> str | None:
    """`filename*`, or its numbered pieces: "" when they cannot be read, None when there are none.

    alone: there is no plain `filename` beside them
    """
    message = Message()
    message["Content-Disposition"] = disposition
    try:
        params = message.get_params(failobj=[], header="Content-Disposition")
        # the standard library gives what it has decoded as (charset, language, bytes as Latin-1)
        values = [value for name, value in params if name.lower() == "filename" and (alone or isinstance(value, tuple))]
        if not values:
            return None
        charset, _, text = values[-1] if isinstance(values[-1], tuple) else (None, None, values[-1])
        return str(text.encode("latin-1").decode(charset or "utf-8"))
    except _UNREADABLE:
        return ""


def _plain(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")  # what clients of old take for plain
    if _ENCODED_WORD.search(text):
        try:
            return str(make_header(decode_header(text)))
        except _UNREADABLE:
            return text
    if "%" in text and _PERCENT.fullmatch(text):
        try:
            return unquote_to_bytes(text).decode("utf-8")
        except UnicodeDecodeError:
            return text
    return text
