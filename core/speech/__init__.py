"""From samples to the plan of chunks: where speech is, and where it may be cut."""
