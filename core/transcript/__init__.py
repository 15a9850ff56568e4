"""From the chunks' texts to one transcript, and to what it can be written as."""

__all__ = [
    "coverage",
    "edits",
    "formats",
    "language_tags",
    "languages",
    "merge",
    "seams",
    "search",
    "shaping",
    "speakers",
    "values",
]
