"""Batches over HTTP: their bodies, what may be asked of a new one, and all transcripts of one as a zip file."""

__all__ = ["archive", "asked", "bodies"]
