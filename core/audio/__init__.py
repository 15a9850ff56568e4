"""From an uploaded file of any kind to samples at 16 kHz."""

__all__ = ["channels", "decoder", "decoding", "ffmpeg", "probe", "samples", "sniff", "source_file", "tracks", "wav"]
