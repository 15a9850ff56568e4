"""Runs a job: claim, decode, plan, transcribe, merge, finish."""
