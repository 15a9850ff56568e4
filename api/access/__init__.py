"""Who asks, and what they may."""

__all__ = ["authentication", "identity"]
