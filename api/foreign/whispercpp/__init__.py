"""The interface of whisper.cpp's own server (examples/server)."""

__all__ = ["errors", "routes"]
