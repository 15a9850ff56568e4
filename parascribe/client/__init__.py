"""The client of the service's HTTP interface: calls, bodies, errors, and the media it sends."""

__all__ = ["bodies", "calls", "client", "errors", "events", "inputs"]
