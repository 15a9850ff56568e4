"""Model files: which are published, and which are here."""
