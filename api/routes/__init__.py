"""The routes, by noun."""

__all__ = [
    "batch_new",
    "batches",
    "follow",
    "jobs",
    "live",
    "service",
    "submit",
    "texts",
    "uploads",
    "voices",
    "webhooks",
]
