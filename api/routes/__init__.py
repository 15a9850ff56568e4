"""The routes, by noun."""

__all__ = [
    "about",
    "audio",
    "batch_new",
    "batches",
    "docs",
    "follow",
    "health",
    "jobs",
    "results",
    "search",
    "session",
    "submit",
    "transcripts",
    "uploads",
    "webhooks",
]
