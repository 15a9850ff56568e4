"""OpenAI's audio interface over the same jobs: what its clients send, and what they expect back."""

__all__ = ["errors", "realtime", "routes"]
