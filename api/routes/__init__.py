"""The routes, by noun."""

__all__ = ["batch_new", "batches", "follow", "jobs", "service", "submit", "texts", "uploads", "voices", "webhooks"]
