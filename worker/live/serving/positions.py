"""A stream's two ways to count: in samples at 16 kHz, as everything inside does, and as its client does."""

from __future__ import annotations

from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE
from core.live.options import StreamOptions

BYTES_PER_SAMPLE = {"s16le": 2, "f32le": 4, "mulaw": 1, "alaw": 1}


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


def frame(options: StreamOptions) -> int:
    """Bytes of one sample of all channels, as the client sends them; of a container, 1."""
    return 1 if is_container(options) else BYTES_PER_SAMPLE[options.encoding] * options.channels
