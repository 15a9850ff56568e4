"""Wyoming, the protocol of Home Assistant's voice assistants: a port of its own, over the same live streams."""

__all__ = ["server"]
