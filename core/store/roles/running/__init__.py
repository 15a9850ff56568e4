"""Who runs what: claims of jobs, leases of tasks, how jobs end, and the consumers."""

__all__ = ["claims", "consumers", "ending", "tasks"]
