"""The resident processes: a manager, an engine host per model, and its workers."""

__all__ = ["scaling"]
