"""Speech without noise, sample for sample where it was."""

__all__: list[str] = []

__all__ = ["blocks", "deepfilter", "enhancer", "package"]
