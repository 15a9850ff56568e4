"""The routes, by noun."""

__all__ = [
    "about",
    "audio",
    "docs",
    "follow",
    "health",
    "jobs",
    "results",
    "search",
    "session",
    "submit",
    "transcripts",
]
