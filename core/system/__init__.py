"""This machine and its processes: cores, memory, clocks, identities, logs."""
