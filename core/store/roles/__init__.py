"""The SQL behind each protocol, one file each; `core.store.sql` puts them together."""

__all__ = [
    "all_jobs",
    "jobs",
    "keys",
    "live",
    "outbox",
    "owners",
    "retention",
    "running",
    "upkeep",
    "uploads",
    "webhooks",
]
