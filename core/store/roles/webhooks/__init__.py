"""Who is told of what: rows made with the event, looked at by their owner, taken by senders."""

__all__ = ["announce", "deliveries"]
