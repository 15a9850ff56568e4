"""A hundred thousand transcripts: how long it takes to find a word, a phrase, a beginning, and to write one into the index (P19)."""

from __future__ import annotations

import itertools
import os
import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from benchmarks.harness import Bench
from benchmarks.plot import Plot
from benchmarks.report import Figure
from core.jobs.job import JobStatus, NewJob, Source, new_id
from core.jobs.params import JobParams
from core.store.database import open_database
from core.store.sql import SqlStore
from core.store.tables import job
from core.store.texts import index
from core.transcript.search.document import Document
from core.transcript.search.query import Query
from core.transcript.values import Language, Segment, Transcript

VOCABULARY, SEGMENTS, WORDS = 30_000, 40, 12
"""Different words there are, segments of a job, words of a segment: about three minutes of talk."""

TIMES = 15
MINE = 100
"""Jobs of an owner who has few; all others are another's."""

KINDS = {
    "common word": "w0",
    "rare word": "w25000",
    "no such word": "nowhere",
    "two common words": "w0 w1",
    "common and rare": "w0 w25000",
    "phrase": '"w0 w1"',
    "phrase that is nowhere": '"w3 w2 w0 w5 w1"',
    "beginning of a letter": "w*",
    "beginning": "w25*",
    "name of a file": "talk77",
}


def run(bench: Bench) -> None:
    """SQLite, and whatever database BENCH_DATABASE_URL names (it must be empty)."""
    urls = {"sqlite": f"sqlite:///{bench.folder}/jobs.db"}
    if given := os.environ.get("BENCH_DATABASE_URL"):
        urls["postgres"] = given
    for kind, url in urls.items():
        _database(bench, kind, url)


def _database(bench: Bench, kind: str, url: str) -> None:
    database = open_database(url)
    database.migrate()
    store = SqlStore(database)
    sizes = bench.pick(smoke=(50, 150), bench=(1000, 10_000), full=(1000, 10_000, 100_000))
    times = bench.pick(smoke=3, bench=TIMES, full=TIMES)
    talks, made = _talks(), 0
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
    slowest: dict[str, float] = {}
    of_few: dict[str, float] = {}
    for size in sizes:
        start, count = time.monotonic(), size - made
        made = _fill(store, made, size, talks)
        written = 1000 * (time.monotonic() - start) / count
        bench.say(f"{kind}: {size} jobs, {written:.1f} ms each to make and index")
        for name, words in KINDS.items():
            seconds = [_timed(store, "many", words) for _ in range(times)]
            lines[name].append((size, 1000 * statistics.median(seconds)))
            slowest[name] = 1000 * max(seconds)
            of_few[name] = 1000 * statistics.median(_timed(store, "few", words) for _ in range(times))
    store.close()
    for name, points in lines.items():
        bench.result.figures += [
            Figure(
                name=f"{name}, {sizes[-1]:,} jobs, {kind}, median",
                value=points[-1][1],
                unit="ms",
                goal="P19",
                at_most=50.0,
                judged=bench.pick(smoke=False, bench=False, full=True),
            ),
            Figure(name=f"{name}, among {MINE} of them, {kind}, median", value=of_few[name], unit="ms"),
        ]
    bench.result.figures.append(Figure(name=f"to make and index one, {kind}", value=written, unit="ms"))
    bench.result.details[kind] = {"median_ms": lines, "slowest_ms": slowest}
    bench.result.plots.append(Plot(name=kind, title=f"By number of jobs ({kind})", x="jobs", y="ms", series=lines))


def _timed(store: SqlStore, owner: str, words: str) -> float:
    """A page, with what shows where it was found."""
    start = time.monotonic()
    query = Query.of(words)
    found, _ = store.of(owner).search(query, limit=20)
    for _, document in found:
        document.excerpts(query)
    return time.monotonic() - start


def _fill(store: SqlStore, first: int, last: int, talks: Iterator[Document]) -> int:
    """Rows as jobs leave them, a thousand in each transaction: one each would measure the disk."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for start in range(first, last, 1000):
        with store.database.write() as connection:
            for n in range(start, min(start + 1000, last)):
                new = NewJob(
                    id=new_id(),
                    source=Source(
                        filename=f"talk{n}.mp3",
                        bytes=1,
                        media_type="audio/mpeg",
                        sha256="a" * 64,
                        key=f"jobs/{n}/source",
                    ),
                    params=JobParams(model="base"),
                )
                moment = begin + timedelta(seconds=n)
                values = store._values(new) | {
                    "owner": "few" if n < MINE else "many",
                    "status": JobStatus.COMPLETED,
                    "created_at": moment,
                    "finished_at": moment,
                    "hint_due": 0.0,
                }
                connection.execute(job.insert().values(**values))
                row = connection.execute(select(job).where(job.c.id == new.id)).one()
                index.write(connection, store.database, row, next(talks))
    return last


def _talks() -> Iterator[Document]:
    """Words as often as in a language (Zipf): w0 is in every talk, w25000 in very few."""
    chance = random.Random(7)
    words = [f"w{n}" for n in range(VOCABULARY)]
    weights = list(itertools.accumulate(1 / (n + 1) for n in range(VOCABULARY)))
    while True:
        said = iter(chance.choices(words, cum_weights=weights, k=SEGMENTS * WORDS))
        segments = tuple(
            Segment(start=n * 4.0, end=n * 4.0 + 3.5, text=" ".join(itertools.islice(said, WORDS)))
            for n in range(SEGMENTS)
        )
        yield Document.of(
            Transcript(segments=segments, language=Language(code="en", confidence=1.0), duration=200.0, model="base")
        )
