"""The console command `parascribe`: its subcommands and what they do."""

from parascribe.cli.program import main

__all__ = ["main"]
