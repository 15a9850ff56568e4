"""Who asks, and what they may."""

__all__ = ["authentication", "credentials", "description", "identity", "key_table", "keys", "scopes", "throttle"]
