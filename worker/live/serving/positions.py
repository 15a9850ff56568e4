"""A stream's two ways to count: in samples at 16 kHz, as everything inside does, and as its client does."""

from __future__ import annotations

from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE
from core.live.options import StreamOptions
from core.live.sessions import Session


def is_container(options: StreamOptions) -> bool:
    return options.encoding == "container"


def to_client(options: StreamOptions, samples: int) -> int:
    """Samples at 16 kHz as samples at the stream's own rate; of the fractions, never more."""
    return samples * options.sample_rate // SAMPLE_RATE


def from_client(options: StreamOptions, position: int) -> int:
    """The reverse: `from_client(to_client(n)) <= n`, and by a sample at most."""
    return position * SAMPLE_RATE // options.sample_rate


def stored_frame(options: StreamOptions) -> int:
    """Bytes of one sample of all channels at 16 kHz, as pieces have them."""
    return SAMPLE_BYTES * options.channels


def known_to(session: Session) -> int:
    """Up to where the client need not send again, as it counts."""
    if is_container(session.options):
        return session.stored
    stored = session.stored // stored_frame(session.options) if session.options.save else session.acked
    return to_client(session.options, min(session.acked, stored))
