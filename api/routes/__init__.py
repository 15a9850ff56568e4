"""The routes, by noun."""

__all__ = ["about", "docs", "health", "jobs", "results", "session", "submit"]
