"""Sends what webhooks are to be told."""

__all__ = ["bodies", "schemas", "sender"]
