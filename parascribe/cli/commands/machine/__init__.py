"""The subcommands about this machine: its models, its engine, and whether all is well with it."""

__all__ = ["checks", "engine", "models", "tune"]
