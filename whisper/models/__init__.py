"""Model files: which are published, and which are here."""

__all__ = ["catalogue", "ggml", "sizes", "store", "tokens", "translation"]
