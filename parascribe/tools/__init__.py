"""What looks after one machine: its health, its engines, its fastest settings."""

__all__ = ["doctor", "dotenv", "engines", "quantised", "recordings", "tuning"]
