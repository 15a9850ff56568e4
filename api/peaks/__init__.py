"""How loud a job's audio is over time, for players that draw it: measured once, by a program of its own, and kept."""

__all__ = ["kept", "measuring"]
