"""From a process's environment to a running part of the service."""

from __future__ import annotations

import sys
from pathlib import Path

import whisper
from core.config.files import ConfigError
from core.config.loading import load
from core.system.processes import one_blas_thread
from core.system.program import uncollected
from parascribe.screen import streams


def start(part: str) -> None:
    """Build the settings once and run `api`, `consumer` or `serve`; exits the process."""
    # another package of that name in site-packages would be picked up silently (openai-whisper)
    if not getattr(whisper, "VAD_MODEL", Path()).is_file():
        sys.exit(
            f"The package `whisper` in {Path(whisper.__file__).parent} is not Parascribe's: uninstall openai-whisper here."
        )
    one_blas_thread()
    streams.prepare()
    with uncollected():
        from parascribe.run import services

    try:
        settings = load()
    except ConfigError as error:
        sys.exit(f"Settings cannot be used:\n{error}")
    sys.exit({"api": services.run_api, "consumer": services.run_consumer, "serve": services.run_serve}[part](settings))
