"""Deepgram's interface to files and to live streams: what its clients send, and what they expect back."""

__all__ = ["errors", "routes"]
