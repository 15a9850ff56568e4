"""The subcommands, one noun each. Modules import what they need inside the functions, so that --help is quick."""

__all__ = [
    "batches",
    "common",
    "completion",
    "job_options",
    "jobs",
    "keys",
    "machine",
    "search",
    "services",
    "transcribe",
    "voices",
    "watch",
    "webhooks",
]
