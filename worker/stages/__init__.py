"""The stages of a job, one file each; `catalogue` puts them together."""

__all__ = ["catalogue", "enhance", "language_vote", "preparation"]
