"""Speech detection: Silero VAD in numpy."""

__all__ = ["model", "silero"]
