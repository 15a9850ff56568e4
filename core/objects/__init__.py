"""Bytes by key: the object store's protocol and its three kinds."""
