"""What both ends of an engine socket agree on, and how the processes at its ends are started."""

__all__ = ["deadlines", "frames", "kind", "process"]
