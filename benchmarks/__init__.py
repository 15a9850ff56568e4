"""Measurements anyone can repeat: `python -m benchmarks --help`, docs/explanation/performance.md for what they found."""

from core.system.processes import one_blas_thread

one_blas_thread()  # as the service does, and before anything here imports numpy
