"""Who said what: the turns of speakers, laid over the words of a transcript. Pure functions."""

__all__ = ["labels", "turns"]
