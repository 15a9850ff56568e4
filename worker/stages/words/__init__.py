"""The words of a chunk beyond one call of the engine: those it left out, and where exactly each lies."""

__all__ = ["align", "leftovers"]
