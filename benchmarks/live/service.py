"""The service that streams are played to, and what is told of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import Bench
from benchmarks.job import warm_up
from benchmarks.live import speech
from benchmarks.live.client import play
from benchmarks.live.translator import SleepingTranslator, sleeping_translator
from benchmarks.meter import tree_cpu
from testbed.service import Service
from whisper import DEMO_MODEL

MOST = 64
"""Streams, for what is to find out how many there can be: nothing else refuses them."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """The service, and a translator that it has for German."""

    service: Service
    translator: SleepingTranslator

    @property
    def url(self) -> str:
        return self.service.url


@contextmanager
def live_service(bench: Bench, *, demo: bool = False, **env: str) -> Iterator[Live]:
    """On the fastest libwhisper there is, warm; it says which that is. demo: with the demo model instead of base q8_0

    The one that the bench was given, where it was given one.
    """
    library = bench.libraries()[0]
    bench.result.details["library"] = f"{library.kind} {library.version}"
    bench.say(f"libwhisper: {library.kind} {library.version}")
    if bench.given is not None:
        yield bench.given
        return
    with (
        sleeping_translator() as translator,
        bench.service(
            library,
            DEMO_MODEL if demo else speech.model(bench),
            LIVE_ENABLED="true",
            LIBRETRANSLATE_URL=translator.url,
            TRANSLATION_PROVIDERS="libretranslate",
            **env,
        ) as service,
    ):
        service.wait_log("Live streams are served")
        if not bench.smoke:
            warm_up(bench, service)
        asyncio.run(play(service.url, speech.made(4.0).pcm, speed=None))
        yield Live(service=service, translator=translator)


def pace(bench: Bench) -> float:
    """Times as fast as speech; a smoke run has no time."""
    return 4.0 if bench.smoke else 1.0


def live_process(service: Service) -> int:
    return service.processes("live_main")[0].pid


def room(service: Service) -> int | None:
    """For how many streams there is room, as the service has found out."""
    found = re.search(r"There is room for (\d+) live streams", service.log)
    return int(found[1]) if found else None


def cpu(service: Service) -> float:
    """Seconds that all of its processes have taken."""
    assert service.process is not None
    return tree_cpu(service.process.pid)


def percentile(values: Sequence[float], percent: float) -> float:
    """0 where there are none."""
    return float(np.percentile(values, percent)) if values else 0.0
