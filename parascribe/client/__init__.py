"""The client of the service's HTTP interface: calls, bodies, errors, and the media it sends."""

__all__ = ["bodies", "client", "errors", "events", "inputs", "known_speakers", "parts"]
