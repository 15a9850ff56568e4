"""This machine and its processes: cores, memory, clocks, identities, logs."""

__all__ = [
    "cancel",
    "clock",
    "crashpoints",
    "disk",
    "identity",
    "logs",
    "machine",
    "pressure",
    "processes",
    "program",
    "retry",
    "tracing",
]
