"""What a run has in its hands: parts, files, plan, lease; and what a stage declares."""

__all__ = ["growing_plan", "lease_keeper", "parts", "report", "stage", "work"]
