"""The conductor of a job: which task may begin, in which lane."""

__all__ = ["conductor"]
