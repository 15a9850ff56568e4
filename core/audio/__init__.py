"""From an uploaded file of any kind to samples at 16 kHz."""

__all__ = ["decoder", "ffmpeg", "probe", "samples", "sniff", "tracks", "wav"]
