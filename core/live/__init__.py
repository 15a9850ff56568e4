"""Speech while it is spoken: what a stream may be asked, what is told of it, and what is kept of it."""

__all__ = ["events", "options", "resuming", "sending", "sessions", "wire"]
