"""What a run has in its hands: parts, files, plan, lease; and what a stage declares."""

__all__ = [
    "figures",
    "growing_plan",
    "lease_keeper",
    "parts",
    "recording",
    "report",
    "resources",
    "samples",
    "stage",
    "work",
]
