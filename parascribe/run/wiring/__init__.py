"""Settings to parts: the one place that knows which adapter stands behind which protocol."""

__all__ = ["about", "broker", "engine", "models", "stores"]
