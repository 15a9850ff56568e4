"""The routes, by noun."""

__all__ = ["about", "audio", "docs", "health", "jobs", "results", "submit"]
