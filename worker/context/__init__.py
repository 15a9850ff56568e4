"""What a run has in its hands: parts, files, plan, lease; and what a stage declares."""
