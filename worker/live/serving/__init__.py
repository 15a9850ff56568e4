"""Streams as their process serves them: taken in, held, recorded, told of, ended."""

__all__ = ["admission", "parts", "queues", "server", "stream", "streams"]
