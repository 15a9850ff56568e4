"""The HTTP service: accepts uploads, shows jobs, hands out results. Never imports `worker`."""

__all__ = ["access", "app", "audio", "batches", "deps", "http", "webhooks"]
