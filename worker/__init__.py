"""Runs a job: claim, decode, plan, transcribe, merge, finish."""

__all__ = ["context", "live", "metrics", "pools", "run", "stop", "watch"]
