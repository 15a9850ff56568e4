"""Parts of an owner's view besides its jobs."""

__all__ = ["batches", "idempotency", "usage", "voices"]
