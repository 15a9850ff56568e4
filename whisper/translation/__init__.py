"""Text into another language: who can do it, and what they make of it."""

__all__ = ["translator"]
