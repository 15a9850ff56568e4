"""`parascribe live`: where sound comes from, where text goes, and the streams between them."""

__all__ = ["command"]
