"""The channels of a sound track: mixed, or each by itself, and which of the two they are made for."""

__all__ = ["apart", "mixdown", "two_talks"]
