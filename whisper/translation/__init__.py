"""Text into another language: who can do it, and what they make of it."""

__all__ = ["chat", "libretranslate", "resident", "router", "spoken", "translator", "web"]
