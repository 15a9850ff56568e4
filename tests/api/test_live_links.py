"""Streams through the API: the relay to live processes, and its scripted twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from api.access.identity import Identity, Open
from api.http.metrics import LiveMetrics
from api.live.link import LiveLink, LiveLinks
from api.live.relay import MOST_DEATHS
from api.live.scripted import Line, ScriptedLinks
from api.live.where import Places
from core.errors import (
    LiveFull,
    LiveSessionEnded,
    LiveSessionNotFound,
    LiveUnavailable,
    ServiceError,
    UnknownModel,
    ValidationFailed,
)
from core.jobs.consumers import ConsumerInfo
from core.live.events import Ack, End, Event, Failure, Final, Partial, Ready, SpeechEnd, SpeechStart, Stats, Translation
from core.live.options import StreamOptions
from core.live.resuming import PIECE_BYTES, Backlog, Told, kept_bytes
from core.live.sending import WAITING_EVENTS, ResumableStream
from core.store.sql import SqlStore
from tests.api.live_process import LiveProcess, relay_to

WHO = Open.LOCAL
ANNA, BERT = (Identity(owner=name, scopes=frozenset({"jobs"})) for name in ("Anna Grün", "bert"))
SCRIPT = (
    Line(start=0.5, end=1.5, text="this was said first", translation="das kam zuerst"),
    Line(start=2.0, end=3.0, text="then there was more", translation="dann kam mehr"),
    Line(start=4.0, end=5.0, text="and this is the end", translation="und das ist das Ende"),
)
TEXTS = [line.text for line in SCRIPT]
TENTH = bytes(3200)
"""A tenth of a second at 16 kHz."""


async def send(link: LiveLink, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        await link.send(TENTH)


async def until(link: LiveLink, stop: Callable[[Event], bool], told: list[Event]) -> Event:
    """The first event for which that holds; all up to it are `told`."""
    async with asyncio.timeout(20):
        async for event in link.events():
            told.append(event)
            if stop(event):
                return event
    raise AssertionError(f"it never came: {told}")


async def rest(link: LiveLink, told: list[Event]) -> Event:
    return await until(link, lambda event: isinstance(event, End | Failure), told)


def texts(told: Sequence[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, Final)]


def check_order(told: Sequence[Event]) -> None:
    """What holds of every stream, whatever died in between."""
    finals = [event.utterance for event in told if isinstance(event, Final)]
    assert finals == sorted(set(finals))
    acks = [event.position for event in told if isinstance(event, Ack)]
    assert acks == sorted(set(acks))
    begun = [event.utterance for event in told if isinstance(event, SpeechStart)]
    assert begun == sorted(set(begun))
    partials: dict[int, Partial] = {}
    for event in told:
        if isinstance(event, Partial):
            before = partials.get(event.utterance, event)
            assert event.committed.startswith(before.committed) and event.revision >= before.revision
            partials[event.utterance] = event
    assert not any(isinstance(event, Ready) for event in told)


# --- what holds of both

Opened = Callable[[], Awaitable[LiveLinks]]


@asynccontextmanager
async def scripted(folder: Path) -> AsyncIterator[LiveLinks]:
    yield ScriptedLinks(SCRIPT)


@asynccontextmanager
async def relayed(folder: Path, *, tcp: bool = False) -> AsyncIterator[LiveLinks]:
    process = LiveProcess(name="one", sessions=ScriptedLinks(SCRIPT), path=folder / "live")
    async with process.running(tcp=tcp):
        rows = [process.row_elsewhere if tcp else process.row]
        yield relay_to(lambda: rows, LiveMetrics(CollectorRegistry()))


@asynccontextmanager
async def relayed_over_tcp(folder: Path) -> AsyncIterator[LiveLinks]:
    async with relayed(folder, tcp=True) as links:
        yield links


both = pytest.mark.parametrize("kind", [scripted, relayed, relayed_over_tcp])


def run(kind: Any, folder: Path, work: Callable[[LiveLinks], Awaitable[None]]) -> None:
    async def with_links() -> None:
        async with kind(folder) as links:
            await work(links)

    asyncio.run(with_links())


@both
def test_a_stream_is_told_in_order_up_to_its_end(kind: Any, tmp_path: Path) -> None:
    async def work(links: LiveLinks) -> None:
        link, told = await links.open({"type": "start", "translate_to": "de"}, WHO), list[Event]()
        assert (link.ready.position, link.ready.resumed) == (0, False) and link.ready.session
        await send(link, 6)
        await link.end()
        last = await rest(link, told)
        assert isinstance(last, End) and last.duration == pytest.approx(6) and last.job
        assert texts(told) == TEXTS
        assert [one.text for one in told if isinstance(one, Translation)] == [line.translation for line in SCRIPT]
        check_order(told)
        assert max(one.position for one in told if isinstance(one, Ack)) == 96_000
        with pytest.raises(ServiceError):
            await link.send(TENTH)
        await link.close()

    run(kind, tmp_path, work)


@both
def test_without_save_there_is_no_job_and_without_partials_none_are_told(kind: Any, tmp_path: Path) -> None:
    async def work(links: LiveLinks) -> None:
        link, told = await links.open({"save": False, "partials": False, "encoding": "alaw"}, WHO), list[Event]()
        for _ in range(20):
            await link.send(bytes(1600))
        await link.flush()
        await until(link, lambda event: isinstance(event, Final), told)
        await link.end()
        last = await rest(link, told)
        assert isinstance(last, End) and last.job is None
        assert texts(told) == TEXTS[:1] and not any(isinstance(event, Partial) for event in told)
        await link.close()

    run(kind, tmp_path, work)


@both
def test_flush_ends_the_utterance_that_is_open(kind: Any, tmp_path: Path) -> None:
    async def work(links: LiveLinks) -> None:
        link, told = await links.open({}, WHO), list[Event]()
        await send(link, 1)
        await link.flush()
        final = await until(link, lambda event: isinstance(event, Final), told)
        assert isinstance(final, Final) and final.end == pytest.approx(1.0)
        await link.close()

    run(kind, tmp_path, work)


@both
def test_a_client_that_comes_back_is_told_only_what_it_has_not_had(kind: Any, tmp_path: Path) -> None:
    async def work(links: LiveLinks) -> None:
        link, told = await links.open({"sample_rate": 8000}, ANNA), list[Event]()
        await send(link, 2.8)  # twice as long at 8 kHz
        await until(link, lambda event: isinstance(event, Ack) and event.position > 40_000 - 1, told)
        ack = [event for event in told if isinstance(event, Ack)][-1]
        had = len(texts(told))
        await link.close()

        again = {"sample_rate": 8000, "session": link.ready.session, "from": ack.position}
        with pytest.raises(LiveSessionNotFound):
            await links.open(again, BERT)
        link = await links.open(again, ANNA)
        assert link.ready.resumed
        later: list[Event] = []
        for _ in range(ack.position // 800, 60):
            await link.send(bytes(1600))
        await link.end()
        assert isinstance(await rest(link, later), End)
        assert texts(told)[:had] + texts(later) == TEXTS
        check_order(later)
        await link.close()
        with pytest.raises(LiveSessionEnded):
            await links.open(again, ANNA)

    run(kind, tmp_path, work)


@both
def test_a_start_that_cannot_be_is_refused_with_its_fields(kind: Any, tmp_path: Path) -> None:
    async def work(links: LiveLinks) -> None:
        with pytest.raises(ValidationFailed) as refused:
            await links.open({"sample_rate": 12, "from": -1, "colour": "red"}, WHO)
        assert {error["field"] for error in refused.value.details["errors"]} == {"sample_rate", "from", "colour"}

    run(kind, tmp_path, work)


@both
def test_events_end_when_the_link_is_closed(kind: Any, tmp_path: Path) -> None:
    async def work(links: LiveLinks) -> None:
        link = await links.open({}, WHO)
        told: list[Event] = []

        async def follow() -> None:
            told.extend([event async for event in link.events()])

        following = asyncio.create_task(follow())
        await send(link, 0.2)
        await link.close()
        async with asyncio.timeout(10):
            await following
        assert not texts(told)

    run(kind, tmp_path, work)


# --- the relay's own


@dataclass
class Cluster:
    """Two processes over the same sessions, and the relay's figures."""

    one: LiveProcess
    two: LiveProcess
    registry: CollectorRegistry
    rows: list[Any]
    links: Any

    def figure(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"parascribe_live_{name}", labels) or 0.0


def with_two(folder: Path, work: Callable[[Cluster], Awaitable[None]], **seconds: float) -> None:
    async def run_both() -> None:
        sessions, registry = ScriptedLinks(SCRIPT), CollectorRegistry()
        one, two = (LiveProcess(name=name, sessions=sessions, path=folder / name) for name in ("one", "two"))
        async with AsyncExitStack() as stack:
            for process in (one, two):
                await stack.enter_async_context(process.running())
            rows = [one.row]
            links = relay_to(lambda: rows, LiveMetrics(registry), **seconds)
            await work(Cluster(one, two, registry, rows, links))
        assert registry.get_sample_value("parascribe_live_streams") == 0

    asyncio.run(run_both())


def test_a_process_that_dies_costs_nothing(tmp_path: Path) -> None:
    async def work(them: Cluster) -> None:
        link, told = await them.links.open({}, ANNA), list[Event]()
        await send(link, 2.6)
        await until(link, lambda event: isinstance(event, Partial) and event.utterance == 1, told)
        them.rows[:] = [them.two.row]
        them.one.kill()
        await send(link, 3.4)
        await link.end()
        assert isinstance(await rest(link, told), End)
        assert texts(told) == TEXTS
        check_order(told)
        assert them.two.starts[0]["session"] == link.ready.session
        position = them.two.starts[0]["from"]
        assert isinstance(position, int) and position > 0, "what was acked is not sent again"
        assert them.two.bytes == 6 * 32_000 - 2 * position
        assert them.figure("take_overs_total") == 1 and them.figure("bytes_total") == 6 * 32_000
        await link.close()

    with_two(tmp_path, work)


def test_a_process_that_stops_is_left_and_an_end_that_was_said_is_said_again(tmp_path: Path) -> None:
    async def work(them: Cluster) -> None:
        them.one.deaf = asyncio.Event()
        link, told = await them.links.open({}, WHO), list[Event]()
        await send(link, 3)
        await link.flush()
        await send(link, 3)
        await link.end()
        them.rows[:] = [them.two.row]
        await them.one.give_away()
        assert isinstance(await rest(link, told), End)
        assert texts(told) == TEXTS and them.two.bytes == 6 * 32_000
        check_order(told)
        them.one.deaf.set()
        await link.close()

    with_two(tmp_path, work)


def test_a_full_process_is_passed_over_and_when_all_are_full_that_is_said(tmp_path: Path) -> None:
    async def work(them: Cluster) -> None:
        them.rows.append(them.two.row)
        them.one.full = True
        links = [await them.links.open({}, WHO) for _ in range(3)]
        assert len(them.two.sockets) == 3
        them.two.full = True
        with pytest.raises(LiveFull):
            await them.links.open({}, WHO)
        them.rows.clear()
        with pytest.raises(LiveUnavailable):
            await them.links.open({}, WHO)
        assert (them.figure("refusals_total", code="live_full"), them.figure("streams")) == (1, 3)
        for link in links:
            await link.close()

    with_two(tmp_path, work)


def test_streams_are_spread_and_a_session_goes_back_to_who_has_it(tmp_path: Path) -> None:
    async def work(them: Cluster) -> None:
        them.rows.append(them.two.row)
        links = [await them.links.open({}, WHO) for _ in range(6)]
        assert len(them.one.sockets) == len(them.two.sockets) == 3
        for link in links:
            await link.close()
        for link in links:
            again = await them.links.open({"session": link.ready.session}, WHO)
            await again.close()
        for process in (them.one, them.two):
            new = [start.get("session") for start in process.starts]
            assert len(new) == 6, "three new ones, and the same three"

    with_two(tmp_path, work)


def test_what_no_process_takes_over_fails_and_may_be_gone_on_with(tmp_path: Path) -> None:
    async def work(them: Cluster) -> None:
        link, told = await them.links.open({}, WHO), list[Event]()
        await send(link, 1)
        await until(link, lambda event: isinstance(event, Partial), told)
        them.rows.clear()
        them.one.kill()
        last = await rest(link, told)
        assert isinstance(last, Failure) and (last.code, last.resumable) == ("live_unavailable", True)
        with pytest.raises(LiveUnavailable):
            await link.send(TENTH)
        await link.close()

    with_two(tmp_path, work, again_seconds=0.2)


def test_a_process_that_reads_nothing_but_tells_how_it_gets_on_is_waited_for_and_one_that_tells_nothing_is_left(
    tmp_path: Path,
) -> None:
    async def work(them: Cluster) -> None:
        them.one.deaf = asyncio.Event()
        link, told = await them.links.open({}, WHO), list[Event]()
        await send(link, 6)
        await link.end()
        them.rows[:] = [them.two.row]
        for n in range(10):
            await them.one.tell(Stats(received=float(n), behind=0.0, queues={}))
            await until(link, lambda event: isinstance(event, Stats), told)
            await asyncio.sleep(0.1)
        assert not them.two.starts, "it is at work"
        assert isinstance(await rest(link, told), End)
        assert texts(told) == TEXTS and them.figure("take_overs_total") == 1
        them.one.deaf.set()
        await link.close()

    with_two(tmp_path, work, silent_seconds=0.5)


def test_a_stream_that_kills_every_process_is_given_up(tmp_path: Path) -> None:
    async def work(them: Cluster) -> None:
        them.one.fragile = True
        link = await them.links.open({}, WHO)
        await link.send(TENTH)
        last = await rest(link, [])
        assert isinstance(last, Failure) and last.code == "live_unavailable"
        assert len(them.one.starts) == MOST_DEATHS + 1
        await link.close()

    with_two(tmp_path, work)


def test_more_than_a_minute_that_is_not_acked_has_to_wait(tmp_path: Path) -> None:
    async def work(them: Cluster) -> None:
        them.one.deaf = asyncio.Event()
        link = await them.links.open({"encoding": "mulaw", "sample_rate": 8000}, WHO)
        most = kept_bytes(StreamOptions(encoding="mulaw", sample_rate=8000))
        for _ in range(60):
            await link.send(bytes(most // 60))
        waiting = asyncio.create_task(link.send(bytes(8000)))
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done and not waiting.done()
        them.one.deaf.set()
        async with asyncio.timeout(10):
            await waiting
            await link.send(bytes(2 * most))
            await link.end()
            assert isinstance(await rest(link, []), End)
        assert them.one.bytes == 3 * most + 8000
        await link.close()

    with_two(tmp_path, work)


def test_options_of_the_job_are_checked_before_a_process_is_asked(tmp_path: Path) -> None:
    async def work(them: Cluster) -> None:
        def check(job: Any) -> None:
            raise UnknownModel(f"There is no model {job['model']}.")

        them.links._check = check
        with pytest.raises(UnknownModel, match="gigantic"):
            await them.links.open({"model": "gigantic"}, WHO)
        assert not them.one.starts and them.figure("refusals_total", code="unknown_model") == 1

    with_two(tmp_path, work)


def test_only_processes_that_were_heard_from_and_can_be_reached_are_known(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    (tmp_path / "file").touch()
    for name, address in (("elsewhere", "10.0.0.2:7000"), ("unreachable", f"unix:{tmp_path / 'file'}")):
        store.beat(name, ConsumerInfo(live={"address": address, "token": "t"}))
    store.beat("older", ConsumerInfo(live={"somewhere": "else"}))
    store.beat("none", ConsumerInfo())
    known = Places(store.consumers).known()
    assert [(place.consumer, place.address, place.path) for place in known] == [("elsewhere", "10.0.0.2:7000", None)]
    assert "t" not in repr(known).replace("consumer", "").split("'")


# --- what both ends keep


def test_a_backlog_begins_anew_where_everything_is_acked() -> None:
    backlog = Backlog(StreamOptions(channels=2), position=100)
    backlog.add(b"abcdefgh")
    backlog.add_flush()
    backlog.add_flush()
    backlog.add(b"ijkl")
    assert [backlog.next(), backlog.next(), backlog.next(), backlog.next()] == [b"abcdefgh", "flush", b"ijkl", None]
    backlog.drop(101)
    backlog.rewind()
    assert (backlog.position, backlog.next(), backlog.next(), backlog.next()) == (101, b"efgh", "flush", b"ijkl")
    backlog.drop(50)
    backlog.drop(10**9)
    assert (backlog.position, backlog.next()) == (103, None)


def test_no_more_is_sent_than_the_other_end_keeps_until_it_is_acked() -> None:
    options = StreamOptions(encoding="mulaw", sample_rate=8000)
    backlog, most = Backlog(options), kept_bytes(options)
    backlog.add(bytes(most + PIECE_BYTES + 8000))  # as if a whole file were sent at once
    sent = sum(map(len, iter(backlog.next, None)))
    assert most <= sent < most + PIECE_BYTES and not backlog.all_sent
    backlog.drop(most // 2)
    assert sent + sum(map(len, iter(backlog.next, None))) == most + PIECE_BYTES + 8000 and backlog.all_sent


def test_nothing_is_told_twice_or_taken_back() -> None:
    told = Told()

    def partial(revision: int, committed: str) -> Partial:
        return Partial(utterance=0, revision=revision, committed=committed, tail="x", start=0.0, end=1.0)

    assert told.news(partial(3, "one two")) == partial(3, "one two")
    assert told.news(partial(1, "one")) is None, "a new process begins anew"
    assert told.news(partial(2, "one two three")) == partial(4, "one two three")
    final = Final(utterance=0, start=0.0, end=1.0, text="one two three", words=[], language="en")
    assert (told.news(final), told.news(final), told.news(partial(9, "one two three"))) == (final, None, None)
    german = Translation(utterance=0, language="de", text="eins zwei drei")
    assert (told.news(german), told.news(german)) == (german, None)


def test_a_process_that_numbers_two_channels_the_other_way_round_is_told_of_in_full() -> None:
    told = Told()

    def partial(channel: int, committed: str) -> Partial:
        return Partial(utterance=7, revision=1, committed=committed, tail="", start=0.0, end=1.0, channel=channel)

    first = SpeechStart(t=1.0, utterance=7, channel=0), partial(0, "one"), SpeechEnd(t=2.0, utterance=7, channel=0)
    assert [told.news(event) for event in first] == [*first]
    other = SpeechStart(t=1.5, utterance=7, channel=1), partial(1, "eins"), SpeechEnd(t=2.5, utterance=7, channel=1)
    assert [told.news(event) for event in other] == [*other]
    again = [told.news(event) for event in (*first, *other)]
    shown = [replace(partial(0, "one"), revision=2), replace(partial(1, "eins"), revision=2)]
    assert [event for event in again if event is not None] == shown, "a partial is told again, the others are not"


def test_only_what_becomes_final_ends_a_row_of_broken_connections() -> None:
    async def work() -> None:
        stream = ResumableStream(StreamOptions(encoding="container"), after_end=ValueError())
        stream.breaks = 3
        await stream.heard(Ack(samples=0, position=65536))
        assert stream.breaks == 3, "bytes that are stored bring nobody further"
        await stream.heard(Ack(samples=16000, position=65536))
        assert stream.breaks == 0

    asyncio.run(work())


def test_the_last_event_is_told_behind_all_that_waits_and_then_nothing_can_be_sent() -> None:
    async def work() -> None:
        stream = ResumableStream(StreamOptions(), after_end=ValueError("behind its end"))
        for number in range(WAITING_EVENTS):
            await stream.heard(SpeechStart(t=number, utterance=number))
        stream.end()
        with pytest.raises(ValueError, match="behind its end"):
            stream.flush()
        last = Failure(code="live_behind", message="It does not keep up.")
        stream.close(LiveUnavailable(), last)
        stream.close(LiveSessionEnded())
        told = [await stream.next_event() for _ in range(WAITING_EVENTS + 2)]
        assert told[-2:] == [last, None] and None not in told[:-1]
        with pytest.raises(LiveUnavailable):
            await stream.send(TENTH)

    asyncio.run(work())
