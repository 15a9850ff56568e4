"""Other people's interfaces over the same jobs: what their clients send, and what they expect back."""

__all__ = ["interfaces", "wyoming"]
