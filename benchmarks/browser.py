"""The page as a phone has it: its first paint and what it fetches (W1); scrolling a transcript of ten hours (W2)."""

from __future__ import annotations

import io
import itertools
import json
import random
import statistics
import wave
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.follow import ApiAlone
from benchmarks.harness import Bench, CannotRun
from benchmarks.report import Figure
from core.jobs.job import NewJob, Source, new_id
from core.jobs.params import JobParams
from core.objects.local import LocalObjects
from core.objects.store import source_key
from core.store.database import open_database
from core.store.sql import SqlStore
from core.transcript.formats import to_result
from core.transcript.values import Language, Segment, Transcript, Word
from scripts.browsers import ARGUMENTS, CHROMIUM, find
from testbed.service import Service

SLOWER = (4, 6)
"""How many times slower a phone's CPU is than this one: what Lighthouse and the browser's own tools take for a middling and a slow one.
A page of one word (`/healthz`) has its first paint here after 350 and 420 ms."""
LATENCY, RATE = 170, 9e6
"""Of 4G, as WebPageTest has it: ms there and back, bits a second down."""
WORDS = 10
"""Of a segment, said in 3.6 s: 100,000 words in ten hours."""

PAINT = """() => new Promise((resolve) => new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (one.name === 'first-contentful-paint') resolve(one.startTime);
}).observe({type: 'paint', buffered: true}))"""
FETCHED = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter((it) => !it.name.includes('/api/')).map((it) => [it.encodedBodySize, it.decodedBodySize, it.responseEnd])"""
WATCH = """() => {
  window.longest = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) longest = Math.max(longest, one.duration);
  }).observe({type: 'longtask'});
}"""
SCROLL = """async ({jumps, steps}) => {
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const frames = [];
  let last = await frame();
  const next = async () => { const now = await frame(); frames.push(now - last); last = now; };
  const all = document.scrollingElement;
  for (let n = 0; n < jumps; n++) {
    scrollTo({top: (all.scrollHeight - innerHeight) * ((n * 0.618) % 1), behavior: 'instant'});
    await next();
    await next();
  }
  for (let n = 0; n < steps; n++) { scrollBy({top: 240, behavior: 'instant'}); await next(); }
  return frames;
}"""


def run(bench: Bench) -> None:
    program = find(CHROMIUM)
    if program is None:
        raise CannotRun("Chromium is not installed (python -m scripts.browsers)")
    words = bench.pick(smoke=600, bench=100_000, full=100_000)
    service = ApiAlone(bench.folder / "browser").start()
    try:
        job = _long_talk(service, words)
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
            _first_paint(bench, browser, service.url)
            _long_transcript(bench, browser, f"{service.url}/#/jobs/{job}", words)
            browser.close()
    finally:
        service.stop()


def _first_paint(bench: Bench, browser: Browser, url: str) -> None:
    for slower in SLOWER[:1] if bench.smoke else SLOWER:
        _first_paint_at(bench, browser, url, slower)


def _first_paint_at(bench: Bench, browser: Browser, url: str, slower: int) -> None:
    """By somebody who has never been there; the median of a few."""
    paints, loads, fetched = [], [], []
    for _ in range(bench.pick(smoke=1, bench=9, full=9)):
        context = browser.new_context(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
        page = context.new_page()
        devtools = context.new_cdp_session(page)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        line = {"offline": False, "latency": LATENCY, "downloadThroughput": RATE / 8, "uploadThroughput": RATE / 8}
        devtools.send("Network.emulateNetworkConditions", line)
        page.goto(url)
        paints.append(page.evaluate(PAINT))
        page.get_by_role("heading", level=1).wait_for()
        loads.append(page.evaluate("performance.now()"))
        fetched = page.evaluate(FETCHED)
        context.close()
    bench.say(f"first paint after {statistics.median(paints):.0f} ms")
    middling = slower == SLOWER[0]
    bench.result.figures += [
        Figure(
            name=f"first contentful paint, CPU {slower} times slower, 4G",
            value=statistics.median(paints),
            unit="ms",
            goal="W1" if middling else "",
            at_most=500.0 if middling else None,
            judged=middling and not bench.smoke,
        ),
        Figure(name=f"until the list is there, CPU {slower} times slower", value=statistics.median(loads), unit="ms"),
    ]
    bench.result.details[f"paints_ms_{slower}"] = paints
    if not middling:
        return
    bench.result.figures += [
        Figure(name="files of the first view", value=len(fetched)),
        Figure(name="their bytes on the line", value=sum(one[0] for one in fetched) / 1000, unit="kB"),
        Figure(name="their bytes", value=sum(one[1] for one in fetched) / 1000, unit="kB"),
    ]


def _long_transcript(bench: Bench, browser: Browser, address: str, words: int) -> None:
    page: Page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    page.get_by_role("listitem").first.wait_for()
    ready = page.evaluate("performance.now()")
    page.evaluate(WATCH)
    jumps, steps = bench.pick(smoke=(5, 20), bench=(60, 300), full=(60, 300))
    frames = sorted(page.evaluate(SCROLL, {"jumps": jumps, "steps": steps}))
    rows, elements = page.get_by_role("listitem").count(), page.evaluate("document.querySelectorAll('*').length")
    bench.result.figures += [
        Figure(name=f"until {words:,} words can be read", value=ready, unit="ms"),
        Figure(
            name="longest task while they are scrolled and jumped through",
            value=page.evaluate("longest"),
            unit="ms",
            goal="W2",
            at_most=100.0,
            judged=not bench.smoke,
        ),
        Figure(name="95th percentile of frames", value=frames[int(len(frames) * 0.95)], unit="ms"),
        Figure(name="segments that are elements at the end", value=rows),
        Figure(name="elements of the page", value=elements),
    ]


def _long_talk(service: Service, words: int) -> str:
    """A job that has ended, as if somebody had talked for hours; of its audio there is only the beginning."""
    chance = random.Random(7)
    known = [
        f"{a}{b}" for a, b in itertools.product(("ba", "ke", "li", "mo", "tu"), ("n", "rent", "skog", "la", "quist"))
    ]
    segments = []
    for start in (3.6 * n for n in range(words // WORDS)):
        said = chance.choices(known, k=WORDS)
        timed = [
            Word(word=word, start=start + 0.35 * n, end=start + 0.35 * n + 0.3, probability=chance.uniform(0.3, 1.0))
            for n, word in enumerate(said)
        ]
        segments.append(Segment(start=start, end=start + 3.5, text=" ".join(said), words=tuple(timed), language="en"))
    transcript = Transcript(
        segments=tuple(segments),
        language=Language(code="en", confidence=1.0),
        duration=3.6 * len(segments),
        model="base",
        word_timestamps=True,
    )
    data = Path(service.env["DATA_DIR"])
    database = open_database(f"sqlite:///{data / 'parascribe.db'}")
    database.migrate()  # whoever comes first
    objects, store = LocalObjects(data / "objects"), SqlStore(database)
    job_id = new_id()
    audio = _silence()
    objects.put(source_key(job_id), io.BytesIO(audio))
    source = Source(
        filename="talk.wav", bytes=len(audio), media_type="audio/wav", sha256="0" * 64, key=source_key(job_id)
    )
    store.create(NewJob(id=job_id, source=source, params=JobParams(model="base")))
    claim = store.claim(owner="bench", consumer="bench", lease_seconds=60)
    assert claim is not None
    objects.put("long", io.BytesIO(json.dumps(to_result(transcript)).encode()))
    store.finish(claim, result_key="long", partial=False, gaps=[], warnings=[], performance={})
    store.close()
    return job_id


def _silence() -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(bytes(32_000))
    return made.getvalue()
