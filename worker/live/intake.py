"""Samples as a client sends them, in any of the encodings of streams, to int16 at 16 kHz."""

from __future__ import annotations

import asyncio
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import LiveProtocol
from core.live.options import Encoding, StreamOptions
from core.live.resuming import frame_bytes

LOUDEST = 32767


class SampleIntake:
    """Of interleaved samples; a message may end anywhere, even inside a sample. Raises LiveProtocol for NaN and infinity.

    What it gives does not depend on where messages end. Samples beyond [-1, 1) are clipped.
    """

    def __init__(self, options: StreamOptions) -> None:
        self._encoding, self._channels = options.encoding, options.channels
        self._frame = frame_bytes(options)
        self._rest = b""
        self._resampler = (
            None
            if options.sample_rate == SAMPLE_RATE
            else soxr.ResampleStream(options.sample_rate, SAMPLE_RATE, options.channels, dtype="float32", quality="HQ")
        )

    async def feed(self, data: bytes) -> Pcm:
        data = self._rest + data
        whole = len(data) // self._frame * self._frame
        self._rest = data[whole:]
        if not whole:
            return self._nothing()
        return await asyncio.to_thread(self._samples, data[:whole])

    async def finish(self) -> Pcm:
        """The resampler's rest. A sample of which a part came is not one."""
        if self._resampler is None:
            return self._nothing()
        return _rounded(
            self._resampler.resample_chunk(self._shaped(np.empty(0, np.float32)), last=True), self._channels
        )

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _samples(self, data: bytes) -> Pcm:
        if self._encoding == "s16le" and self._resampler is None:
            return np.frombuffer(data, "<i2").astype(np.int16, copy=False).reshape(-1, self._channels)
        floats = _floats(data, self._encoding)
        if self._resampler is None:
            return _rounded(floats, self._channels)
        return _rounded(self._resampler.resample_chunk(self._shaped(floats)), self._channels)

    def _shaped(self, floats: NDArray[np.float32]) -> NDArray[np.float32]:
        return floats.reshape(-1, self._channels) if self._channels > 1 else floats

    def _nothing(self) -> Pcm:
        return np.empty((0, self._channels), np.int16)


def _floats(data: bytes, encoding: Encoding) -> NDArray[np.float32]:
    """In [-1, 1), but for f32le, which may lie beyond."""
    if encoding == "f32le":
        floats = np.frombuffer(data, "<f4").astype(np.float32, copy=False)
        if not np.isfinite(floats).all():
            raise LiveProtocol("The audio has samples that are not finite.")
        return np.clip(floats, -1.0, 1.0)  # what the resampler is given stays in range, whatever it overshoots
    if encoding == "s16le":
        samples: NDArray[np.int16] = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
    else:
        samples = (_mulaw() if encoding == "mulaw" else _alaw())[np.frombuffer(data, np.uint8)]
    return samples.astype(np.float32) / np.float32(32768)


def _rounded(floats: NDArray[np.float32], channels: int) -> Pcm:
    pcm: Pcm = np.clip(np.rint(floats * np.float32(32768)), -LOUDEST - 1, LOUDEST).astype(np.int16)
    return pcm.reshape(-1, channels)


@cache
def _mulaw() -> NDArray[np.int16]:
    """ITU-T G.711, table 2: the sample of each byte."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    size = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.int16)


@cache
def _alaw() -> NDArray[np.int16]:
    """ITU-T G.711, table 1."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    size = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.int16)
