"""What a job is: its values, its life, and the folder it works in."""

__all__ = [
    "batches",
    "consumers",
    "job",
    "known_speakers",
    "origin",
    "params",
    "tasks",
    "turns",
    "uploads",
    "voices",
    "workfolders",
]
