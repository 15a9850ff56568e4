"""Parts of an owner's view besides its jobs."""

__all__ = ["idempotency", "usage"]
