"""The consumer's main process: a child (`core.system.program`) with CONSUMER RUNTIME [poll | extra].

Makes what all its jobs share, then forks the job processes. `poll`: look for jobs in the table although there is a
broker; the supervisor wants that while the broker is away. `extra`: beside Celery's pool, the slot for one interactive job more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.config.loading import load
from core.config.settings import Settings
from core.system import logs, tracing
from parascribe.run.parts import make_parts
from parascribe.run.wiring.about import figures, version
from parascribe.run.wiring.broker import doorbell
from parascribe.run.wiring.engine import plan_in_force
from parascribe.run.wiring.stores import open_store
from whisper.types import Engine
from worker.pools.slots import Slots
from worker.pools.solo import SoloPool
from worker.stop import Stop


def main(
    consumer: str,
    runtime: Path,
    settings: Settings,
    *,
    poll: bool = False,
    extra: bool = False,
    engine: Engine | None = None,
) -> None:
    """Blocks until SIGTERM. engine: None = the one the settings name."""
    logs.setup(settings.log_level, settings.log_format, role="poller" if poll else "extra" if extra else "consumer")
    store = open_store(settings, migrate=False)
    parts = make_parts(
        settings, store, runtime, consumer, plan=plan_in_force(runtime), engine=engine, tell=figures(settings, runtime)
    )
    slots, stop = Slots(settings.max_concurrent_jobs, runtime / "slots"), Stop()

    def after_fork() -> None:
        store.database.dispose_after_fork()  # connections made so far belong to this process
        if settings.tracing:
            tracing.setup("consumer", version())

    if poll or extra or settings.broker is None:
        SoloPool(
            parts,
            slots,
            stop,
            indices=range(settings.max_concurrent_jobs if extra else 0, settings.max_concurrent_jobs + 1),
            extra=extra,
            doorbell=doorbell(runtime, extra=extra),
            polling=poll,
            after_fork=after_fork,
        ).run()
    else:
        from worker.pools.celery_app import make_celery, run_celery

        app = make_celery(settings.broker, parts, slots, stop, after_fork=after_fork)
        run_celery(app, slots=settings.max_concurrent_jobs, name=consumer)


def run(arguments: Sequence[str]) -> None:
    """As a program. arguments: CONSUMER RUNTIME [poll | extra]"""
    consumer, runtime, *words = arguments
    main(consumer, Path(runtime), load(), poll="poll" in words, extra="extra" in words)
