"""Live streams on their way through the API: who may, where they are served, and nothing lost in between."""

__all__ = ["client", "closing", "conversation", "link", "relay", "where"]
