"""OpenAI's Realtime interface, for transcription: other clients of the same live streams."""

__all__ = ["routes"]
