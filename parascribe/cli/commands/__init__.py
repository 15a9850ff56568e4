"""The subcommands, one noun each. Modules import what they need inside the functions, so that --help is quick."""

__all__ = [
    "batches",
    "common",
    "engine",
    "jobs",
    "keys",
    "machine",
    "models",
    "search",
    "services",
    "transcribe",
    "tune",
    "webhooks",
]
