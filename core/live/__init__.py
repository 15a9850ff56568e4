"""Speech while it is spoken: what a stream may be asked, what is told of it, and what is kept of it."""

__all__: list[str] = ["events", "options", "resuming", "sessions", "wire"]
