"""The words of a chunk beyond one call of the engine: those it left out, where exactly each lies, and in another language."""

__all__ = ["align", "leftovers", "translation"]
