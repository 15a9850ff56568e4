"""The routes, by noun."""

__all__ = ["about", "docs", "follow", "health", "jobs", "results", "session", "submit"]
