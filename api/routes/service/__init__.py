"""Of the service itself: what there is to choose from, its description, its health, who asks."""

__all__ = ["about", "docs", "health", "keys", "session", "storage"]
