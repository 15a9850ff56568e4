"""Bytes by key: the object store's protocol and its three kinds."""

__all__ = ["local", "s3", "store"]
