"""What a job is: its values, its life, and the folder it works in."""

__all__ = ["batches", "consumers", "job", "origin", "params", "tasks", "turns", "uploads", "workfolders"]
