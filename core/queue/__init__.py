"""Wake-ups for waiting jobs, and the sweeper, which ends and removes what nobody else does."""

__all__ = ["hints", "indexing", "sweeper"]
