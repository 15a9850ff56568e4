"""Audio samples in, tokens and times out: the engine, its processes and its models. Knows no job, HTTP or bucket."""
