"""Runs a job: claim, decode, plan, transcribe, merge, finish."""

__all__ = ["context", "pools", "run", "stop", "watch"]
