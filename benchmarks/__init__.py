"""Measurements anyone can repeat: `python -m benchmarks --help`, docs/explanation/performance.md for what they found."""
