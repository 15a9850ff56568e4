"""What jobs become: results, edits, search, and the audio beside them."""

__all__ = ["audio", "results", "search", "transcripts"]
