"""Connections to addresses that strangers name, none of which leads into our own network."""

__all__ = ["client", "values"]
