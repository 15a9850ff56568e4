"""Where two chunks meet: words that both heard are said once, and no sentence ends where only a window did."""

__all__: list[str] = []

__all__ = ["punctuation", "stitch"]
