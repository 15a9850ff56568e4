"""What API processes and live processes agree on beside the messages of a stream."""

from __future__ import annotations

OWNER_HEADER = "Parascribe-Owner"
"""Whose stream it is, percent-encoded; not there where nobody needs a key. `Authorization: Bearer` has the token."""

MESSAGE_BYTES = 1 << 20
"""Of one message: 5 s of audio have less in any encoding."""
