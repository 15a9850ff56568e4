"""Finding text: the words that it is found by, what people type, and what of a transcript they are shown."""

__all__ = ["document", "query", "words"]
