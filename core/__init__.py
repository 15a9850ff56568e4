"""Jobs, chunks, transcripts, audio and storage: everything that knows no engine, no queue worker and no HTTP."""

__all__ = [
    "audio",
    "config",
    "errors",
    "jobs",
    "keys",
    "live",
    "notices",
    "objects",
    "options",
    "outbound",
    "queue",
    "speech",
    "store",
    "submission",
    "system",
    "transcript",
    "webhooks",
]
