"""What happens to jobs, told: their status to clients, hints to the broker."""

__all__ = ["follower", "hub", "status", "stream"]
