"""The HTTP service: accepts uploads, shows jobs, hands out results. Never imports `worker`."""
