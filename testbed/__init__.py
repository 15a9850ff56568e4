"""What tests and benchmarks run against: speech with its truth, the service as its users start it, faults on demand."""
