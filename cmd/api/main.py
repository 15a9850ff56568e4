"""Starts the API: `python cmd/api/main.py`. Settings come from the environment, .env and parascribe.toml."""

from parascribe.run.entry import start

if __name__ == "__main__":
    start("api")
