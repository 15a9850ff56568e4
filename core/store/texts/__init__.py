"""Transcripts in the database: their revisions."""

__all__ = ["index", "matches", "revisions"]
