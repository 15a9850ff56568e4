"""How a file becomes a job, whoever asks: the rules for what may be asked, and the order in which it is written down."""

__all__ = ["batches", "checks", "intake", "joining", "origins", "quota", "retry", "revising", "storing"]
