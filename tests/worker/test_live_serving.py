"""Streams served over a real socket: what their clients are told, whatever they do."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from core.errors import DatabaseUnavailable, DiskFull, HandedBack, InsufficientStorage
from core.live.events import Translation
from core.live.sessions import SessionLease
from core.objects.memory import MemoryObjects
from tests.worker.live_kit import Sessions, eventually, live, speech
from worker.live.serving.queues import MOST_ITEMS, Command, Inbox
from worker.live.serving.recording import MOST_BYTES

THREE = speech(1.0, 0.6, 1.5, 0.6, 0.5, 0.6)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def test_a_stream_is_heard_told_acked_recorded_and_becomes_a_job(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client(owner="Ä b", language="de") as client:
            ready = await client.until("ready")
            assert ready["position"] == 0 and not ready["resumed"] and ready["model"] == "demo"
            await client.socket.send(THREE)
            await client.say("end")
            end = await client.until("end")
            assert await client.closed() == 1000
            row = here.sessions.rows[ready["session"]]
            assert (row.owner, row.params["language"], row.consumer) == ("Ä b", "de", "here")
            assert end["job"] == row.job_id and row.ended
            assert end["duration"] == pytest.approx(len(THREE) / 32_000, abs=0.001)
            assert [final["utterance"] for final in client.of("final")] == [0, 1, 2]
            assert client.texts() == [one.final["text"] for one in here.sessions.finals(row.id)]
            pieces = here.sessions.stored[row.id]
            assert b"".join(here.objects.open(key).read() for _, _, key in pieces) == THREE
            assert client.of("ack")[-1]["position"] == len(THREE) // 2
            assert client.of("partial")
            await eventually(lambda: here.counts == [1, 0])
            assert here.pipelines[0].closed

    run(story())


def test_an_ack_never_goes_before_its_finals_nor_beyond_what_is_stored(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client(sample_rate=8000) as client:
            session = (await client.until("ready"))["session"]
            for at in range(0, len(THREE), 3200):
                await client.socket.send(THREE[at : at + 3200])
                await asyncio.sleep(0.01)
            await client.until("ack")
            await client.say("end")
            await client.until("end")
            stored = here.sessions.stored[session]
            kept = sum(size for _, size, _ in stored) // 2
            covered = 0.0
            for message in client.got:
                if message["type"] == "final":
                    covered = message["end"]
                if message["type"] == "ack":
                    assert message["samples"] <= kept
                    assert message["position"] == message["samples"] // 2, "as the client counts, at 8 kHz"
                    ends = [one.end for one in here.sessions.finals(session) if one.end <= message["samples"]]
                    assert len(ends) <= len(
                        [m for m in client.got[: client.got.index(message)] if m["type"] == "final"]
                    )
            assert covered

    run(story())


def test_without_save_nothing_is_stored_and_acks_come_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client(save=False, partials=False) as client:
            await client.until("ready")
            await client.socket.send(THREE)
            await client.until("final", 3)
            await client.until("ack")
            await client.say("end")
            assert (await client.until("end")).get("job") is None
            assert list(here.objects.keys("")) == [] and not client.of("partial")

    run(story())


@pytest.mark.parametrize("container", [False, True])
def test_who_comes_back_with_the_last_ack_has_each_final_once_and_no_sample_is_lost(
    tmp_path: Path, container: bool
) -> None:
    async def story() -> None:
        async with live(tmp_path, resume=20.0) as here:
            kind = "container" if container else "s16le"
            async with here.client(encoding=kind) as first:
                session = (await first.until("ready"))["session"]
                await first.socket.send(THREE[: len(THREE) // 2])
                final = await first.until("final")
                while (ack := await first.until("ack"))["samples"] < final["end"] * 16_000:
                    pass
                had = {final["utterance"]: final["text"] for final in first.of("final")}
                first.socket.transport.abort()
            position = ack["position"]
            async with here.client(encoding=kind, session=session, **{"from": position}) as second:
                ready = await second.until("ready")
                assert ready["resumed"] and ready["position"] == position
                await second.socket.send(THREE[position * (1 if container else 2) :])
                await second.say("end")
                await second.until("end")
                again = {final["utterance"]: final["text"] for final in second.of("final")}
            assert sorted(again) == sorted(set(again)) and list(again) == sorted(again)
            if container:  # of the last piece, some may be told again
                assert all(again.get(number, text) == text for number, text in had.items())
            else:
                assert not set(again) & set(had), "those that the ack covers are not told again"
            pieces = here.sessions.stored[session]
            assert b"".join(here.objects.open(key).read() for _, _, key in pieces) == THREE
            texts = [one.final["text"] for one in here.sessions.finals(session)]
            async with here.client() as whole:
                await whole.socket.send(THREE)
                await whole.say("end")
                await whole.until("end")
            assert texts == whole.texts() == [*(had | again).values()]

    run(story())


def test_finals_that_the_ack_does_not_cover_are_told_again_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path, resume=20.0, acks=30.0) as here:
            async with here.client() as first:
                session = (await first.until("ready"))["session"]
                await first.socket.send(THREE)
                await first.until("final", 3)
            async with here.client(session=session) as second:
                await second.until("ready")
                await second.socket.send(THREE + speech(0.5, 0.6))
                await second.say("end")
                await second.until("end")
                assert [final["utterance"] for final in second.of("final")] == [0, 1, 2, 3]
                assert second.texts()[:3] == first.texts()

    run(story())


def test_translations_that_were_done_while_nobody_was_there_are_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path, resume=20.0) as here:
            async with here.client() as first:
                session = (await first.until("ready"))["session"]
                (stream,) = here.streams.attended
                await first.socket.send(THREE)
                await first.until("final", 3)
                acked = (await first.until("ack"))["position"]
                first.socket.transport.abort()
            await eventually(lambda: here.counts[-1] == 0)
            await stream.keep_translation(Translation(utterance=2, language="de", text="Guten Tag"))
            async with here.client(session=session, **{"from": acked}) as second:
                assert (await second.until("translation"))["text"] == "Guten Tag"
                await second.say("end")
                await second.until("end")
                assert second.of("final") == [] and len(second.of("translation")) == 1

    run(story())


def test_a_new_connection_takes_over_from_a_half_dead_one_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path, most=1) as here, here.client() as first:
            session = (await first.until("ready"))["session"]
            await first.socket.send(THREE[:20_000])
            async with here.client(session=session) as second:
                assert (await second.until("ready", seconds=2))["resumed"]
                assert await first.closed() == 1011
                assert first.of("error")[-1]["code"] == "lease_lost" and not first.of("error")[-1]["resumable"]
                await second.socket.send(THREE)
                await second.say("end")
                await second.until("end")
                assert len(second.of("final")) == 3

    run(story())


def test_a_client_that_does_not_come_back_has_ended_its_stream_with_all_it_sent(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here:
            async with here.client() as client:
                session = (await client.until("ready"))["session"]
                await client.socket.send(THREE[:40_000])
                await client.until("speech_start")
                client.socket.transport.abort()
            await eventually(lambda: here.sessions.rows[session].ended)
            assert here.sessions.rows[session].job_id and here.sessions.left[session]
            assert [one.number for one in here.sessions.finals(session)] == [0]
            sizes = sum(size for _, size, _ in here.sessions.stored[session])
            assert sizes == here.sessions.rows[session].acked * 2
            async with here.client(session=session) as late:
                assert await late.closed() == 1008
                assert late.got[0]["code"] == "live_session_ended"
            assert here.counted("refusal") == ["live_session_ended"]

    run(story())


def test_who_breaks_off_behind_the_end_can_come_back_for_the_last_finals(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path, resume=20.0) as here:
            here.script.seconds = 0.2
            async with here.client() as first:
                session = (await first.until("ready"))["session"]
                await first.socket.send(THREE)
                await first.say("end")
                await first.until("speech_end")
                first.socket.transport.abort()
            await eventually(lambda: here.sessions.rows[session].acked == len(THREE) // 2)
            assert not here.sessions.rows[session].ended
            async with here.client(session=session) as second:
                await second.socket.send(THREE)
                await second.say("end")
                assert (await second.until("end"))["job"] == here.sessions.rows[session].job_id
            assert [final["utterance"] for final in second.of("final")] == [0, 1, 2]

    run(story())


@pytest.mark.parametrize("save", [True, False])
def test_who_was_not_told_of_the_end_is_told_when_it_comes_back(tmp_path: Path, save: bool) -> None:
    async def story() -> None:
        async with live(tmp_path, resume=20.0) as here:
            async with here.client(save=save) as first:
                session = (await first.until("ready"))["session"]
                await first.socket.send(THREE)
                await first.say("end")
                await eventually(lambda: here.sessions.rows[session].ended)
                first.socket.transport.abort()
            for sent in (THREE, b""):  # what a client sends that knows of no ack, and of all of them
                position = {} if sent else {"from": len(THREE) // 2}
                async with here.client(session=session, **position) as again:
                    assert (await again.until("ready"))["resumed"]
                    if sent:
                        await again.socket.send(sent)
                    await again.say("end")
                    end = await again.until("end")
                    assert end.get("job") == here.sessions.rows[session].job_id and ("job" in end) is save
                    assert end["duration"] == pytest.approx(len(THREE) / 32_000, abs=0.001)
                    assert [final["utterance"] for final in again.of("final")] == ([0, 1, 2] if sent else [])
                    assert await again.closed() == 1000
            await eventually(lambda: here.counts[-1] == 0)

    run(story())


def test_a_process_that_stops_tells_its_clients_and_another_goes_on_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        sessions, objects = Sessions(), MemoryObjects()
        for place in ("a", "b"):
            (tmp_path / place).mkdir()
        async with live(tmp_path / "b", sessions=sessions, objects=objects) as there:
            async with live(tmp_path / "a", sessions=sessions, objects=objects) as here, here.client() as first:
                session = (await first.until("ready"))["session"]
                await first.socket.send(THREE[:60_000])
                await first.until("final")
                await here.server.stop()
                assert await first.closed() == 1012
                error = first.of("error")[-1]
                assert error["code"] == "handed_back" and error["resumable"]
                assert sessions.left[session] == here.serving.pace.resume + here.serving.pace.lease
            position = first.of("ack")[-1]["position"] if first.of("ack") else 0
            async with there.client(session=session, **{"from": position}) as second:
                await second.socket.send(THREE[position * 2 :])
                await second.say("end")
                await second.until("end")
            told = {final["utterance"]: final["text"] for final in [*first.of("final"), *second.of("final")]}
            assert [*told.values()] == [one.final["text"] for one in sessions.finals(session)]
            assert len(told) == 3

    run(story())


BAD: dict[str, tuple[Callable[[Any], Coroutine[Any, Any, None]], str, int]] = {
    "text that is no JSON": (lambda c: c.socket.send("hello"), "live_protocol", 1008),
    "JSON that is no object": (lambda c: c.socket.send("[" * 100_000), "live_protocol", 1008),
    "an unknown type": (lambda c: c.say("dance"), "live_protocol", 1008),
    "a second start": (lambda c: c.say("start"), "live_protocol", 1008),
    "a flush with something": (lambda c: c.say("flush", now=True), "validation", 1008),
    "a large message": (lambda c: c.socket.send(bytes((1 << 20) + 1)), "live_protocol", 1008),
}


def test_who_breaks_the_rules_is_told_and_the_others_do_not_notice(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client() as other:
            await other.until("ready")
            for name, (misdeed, code, closed) in BAD.items():
                async with here.client() as client:
                    await client.until("ready")
                    await misdeed(client)
                    assert await client.closed() == closed, name
                    assert client.got[-1]["code"] == code, name
            await other.socket.send(THREE)
            await other.say("end")
            await other.until("end")
            assert len(other.of("final")) == 3

    run(story())


def test_what_comes_behind_the_end_is_refused_and_the_stream_ends_all_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client() as client:
            row = (await client.until("ready"))["session"]
            here.sessions.fails.append(DatabaseUnavailable("It is away for a moment."))
            await client.socket.send(THREE)
            await client.say("end")
            await client.say("flush")
            assert await client.closed() == 1008
            assert client.got[-1]["code"] == "live_protocol" and not client.got[-1].get("resumable")
            await eventually(lambda: here.sessions.rows[row].ended)
            assert here.sessions.rows[row].job_id and len(here.sessions.finals(row)) == 3

    run(story())


def test_what_cannot_begin_is_refused_with_its_code(tmp_path: Path) -> None:
    starts: list[tuple[dict[str, Any], str]] = [
        ({"model": "nonsense"}, "unknown_model"),
        ({"sample_rate": 4000}, "validation"),
        ({"encoding": "opus"}, "validation"),
        ({"colour": "red"}, "validation"),
        ({"from": 100}, "validation"),
        ({"save": False, "refine": True}, "validation"),
        ({"session": "nobodys"}, "live_session_not_found"),
    ]

    async def story() -> None:
        async with live(tmp_path) as here:
            for start, code in starts:
                async with here.client(**start) as client:
                    assert await client.closed() == 1008, start
                    assert [message["code"] for message in client.got] == [code], start
            async with here.client(start=None) as client:
                await client.socket.send(b"\0\0")
                assert await client.closed() == 1008 and client.got[0]["code"] == "live_protocol"
            async with here.client(encoding="container") as client:
                await client.until("ready")
                await client.socket.send(b"bad container")
                assert await client.closed() == 1008 and not client.got[-1]["resumable"]
            assert here.sessions.sessions(None) == [] or await eventually(lambda: not here.sessions.sessions(None))
            for token in ("", "x", f"{'é' * 9}"):
                with pytest.raises(InvalidStatus) as refused:
                    async with here.client(token=token.encode().decode("latin-1")):
                        pass
                assert refused.value.response.status_code == 401

    run(story())


def test_another_owner_and_another_kind_of_audio_cannot_go_on_with_a_stream(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path, resume=20.0) as here:
            async with here.client(owner="one", language="de") as client:
                session = (await client.until("ready"))["session"]
            for owner, more, code in (
                ("two", {}, "live_session_not_found"),
                (None, {}, "live_session_not_found"),
                ("one", {"encoding": "f32le"}, "validation"),
                ("one", {"language": "fr"}, "validation"),
                ("one", {"from": 160_000}, "validation"),
            ):
                async with here.client(owner=owner, session=session, **more) as client:
                    await client.closed()
                    assert client.got[-1]["code"] == code, (owner, more)
            async with here.client(owner="one", session=session, language="de") as client:
                await client.until("ready")

    run(story())


def test_what_is_too_much_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path, most=2) as here, here.client() as one, here.client() as two:
            await one.until("ready")
            await two.until("ready")
            async with here.client() as third:
                assert await third.closed() == 1013
                assert third.got[0]["code"] == "live_full"
            assert len(here.sessions.rows) == 2
            await one.say("end")
            await one.closed()
            async with here.client() as third:
                await third.until("ready")

    run(story())


def test_commands_wait_too_and_not_without_an_end() -> None:
    async def story() -> None:
        inbox, taken = Inbox(), 0

        async def put() -> None:
            nonlocal taken
            while True:
                for item in (Command.FLUSH, b"x"):
                    await inbox.put(item)
                    taken += 1

        putting = asyncio.create_task(put())
        await asyncio.sleep(0)
        assert taken == MOST_ITEMS
        found = [await inbox.get() for _ in range(10)]
        assert found == [Command.FLUSH, b"x"] * 5
        await eventually(lambda: taken == MOST_ITEMS + 10)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)

    run(story())


def test_ten_thousand_tiny_messages_are_few_calls(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client(partials=False) as client:
            await client.until("ready")
            audio = speech(0.5, 0.12)
            calls = 0
            feed = here.pipelines[0].feed

            async def counted(pcm: Any) -> None:
                nonlocal calls
                calls += 1
                await feed(pcm)

            here.pipelines[0].feed = counted  # type: ignore[method-assign]
            for at in range(0, 20_000, 2):
                await client.socket.send(audio[at : at + 2])
            await client.say("end")
            await client.until("end")
            assert calls < 2000
            assert len(client.of("final")) == 1

    run(story())


def test_a_client_that_does_not_read_stops_the_stages_and_is_given_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path, slow=0.5, resume=0.2) as here, here.client() as client:
            session = (await client.until("ready"))["session"]
            client.socket.transport.pause_reading()
            stream = here.streams.attended[0]
            from core.live.events import Partial

            big = Partial(utterance=0, revision=1, committed="x" * 100_000, tail="", start=0.0, end=1.0)
            told = 0
            while here.streams.attended:
                await stream.tell(big)
                await asyncio.sleep(0)
                told += here.counted("failure") == []
            assert told < 1000, "no more is kept than fits"
            assert here.counted("failure") == ["live_client_slow"]
            await eventually(lambda: here.sessions.rows[session].ended)

    run(story())


def test_a_stream_that_sends_nothing_ends(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path, idle=0.3) as here, here.client() as client:
            session = (await client.until("ready"))["session"]
            await client.socket.send(THREE[:50_000])
            assert await client.closed() == 1008
            assert client.got[-1]["code"] == "live_idle"
            await eventually(lambda: here.sessions.rows[session].ended)
            assert here.sessions.finals(session)

    run(story())


def test_a_database_that_is_away_for_a_moment_costs_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client() as client:
            await client.until("ready")
            here.sessions.fails = [DatabaseUnavailable(), DatabaseUnavailable()]
            await client.socket.send(THREE)
            await client.say("end")
            await client.until("end")
            assert len(client.of("final")) == 3 and not here.sessions.fails

    run(story())


def test_a_full_disk_breaks_the_stream_off_and_it_goes_on_once_there_is_room(tmp_path: Path) -> None:
    class Full(MemoryObjects):
        full = False

        def put(self, key: str, data: Any, **more: Any) -> int:
            if self.full:
                raise DiskFull
            return super().put(key, data, **more)

    async def story() -> None:
        objects = Full()
        room = [True]

        def check_room() -> None:
            if not room[0]:
                raise InsufficientStorage

        async with live(tmp_path, objects=objects, resume=20.0, check_room=check_room) as here:
            async with here.client() as first:
                session = (await first.until("ready"))["session"]
                objects.full = True
                await first.socket.send(THREE)
                assert await first.closed() == 1011
                assert first.got[-1]["code"] == "disk_full" and first.got[-1]["resumable"]
                assert not first.of("ack")
            objects.full = False
            async with here.client(session=session) as second:
                await second.socket.send(THREE)
                await second.say("end")
                await second.until("end")
                assert len(second.of("final")) == 3
            pieces = here.sessions.stored[session]
            assert b"".join(objects.open(key).read() for _, _, key in pieces) == THREE
            room[0] = False
            async with here.client() as third:
                await third.closed()
                assert third.got[-1]["code"] == "insufficient_storage"

    run(story())


def test_a_stream_that_has_ended_says_so_though_its_process_stops_at_that_moment(tmp_path: Path) -> None:
    class Ending(Sessions):
        at_that_moment: Callable[[], None]

        def end_session(self, lease: SessionLease, *, seconds: float = 0.0) -> str | None:
            job = super().end_session(lease, seconds=seconds)
            self.at_that_moment()
            return job

    async def story() -> None:
        sessions, loop = Ending(), asyncio.get_running_loop()
        async with live(tmp_path, sessions=sessions) as here, here.client() as client:
            session = (await client.until("ready"))["session"]
            (stream,) = here.streams.attended
            sessions.at_that_moment = lambda: (
                loop.call_soon_threadsafe(stream.interrupt, HandedBack("It stops.")) and None
            )
            await client.socket.send(THREE)
            await client.say("end")
            assert await client.closed() == 1000
            assert client.got[-1]["type"] == "end" and client.got[-1]["job"] == here.sessions.rows[session].job_id
            assert len(client.of("final")) == 3

    run(story())


def test_a_stream_ends_though_more_has_come_than_can_be_stored(tmp_path: Path) -> None:
    class Stuck(MemoryObjects):
        full = threading.Event()

        def put(self, key: str, data: Any, **more: Any) -> int:
            assert self.full.wait(20)
            raise DiskFull

    async def story() -> None:
        objects, megabyte = Stuck(), bytes(1 << 20)
        async with live(tmp_path, objects=objects) as here, here.client() as client:
            session = (await client.until("ready"))["session"]
            (stream,) = here.streams.attended

            async def send() -> None:
                while True:
                    await client.socket.send(megabyte)

            sending = asyncio.create_task(send())
            await eventually(lambda: stream.received * 32_000 > MOST_BYTES)
            objects.full.set()
            await client.closed()
            assert client.got[-1]["code"] == "disk_full"
            await asyncio.gather(sending, return_exceptions=True)
            await eventually(lambda: here.sessions.rows[session].ended)

    run(story())


def test_a_pipeline_that_breaks_is_told_and_the_recording_becomes_a_job_all_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client() as client:
            session = (await client.until("ready"))["session"]

            def broken(number: int) -> None:
                if number == 1:
                    raise ZeroDivisionError

            here.script.before = broken
            await client.socket.send(THREE)
            assert await client.closed() == 1011
            assert client.got[-1]["code"] == "internal"
            await eventually(lambda: here.sessions.rows[session].ended)
            assert here.sessions.rows[session].job_id and len(here.sessions.finals(session)) == 1
            pieces = here.sessions.stored[session]
            assert len(b"".join(here.objects.open(key).read() for _, _, key in pieces)) > 60_000

    run(story())


def test_stats_are_told_and_a_container_that_is_not_saved_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here, here.client(save=False, encoding="container") as client:
            session = (await client.until("ready"))["session"]
            await client.socket.send(THREE)
            stats = await client.until("stats")
            assert stats["received"] > 0 and {"intake", "recogniser", "output"} <= stats["queues"].keys()
            await client.say("end")
            await client.until("end")
            await eventually(lambda: not list(here.objects.keys("")))
            assert here.sessions.rows[session].ended

    run(story())


def test_a_connection_that_says_nothing_holds_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with live(tmp_path) as here:
            reader, writer = await asyncio.open_unix_connection(str(here.path))
            writer.write(b"GET / HTTP/1.1\r\nnonsense\r\n\r\n")
            assert not (await reader.read()).startswith(b"HTTP/1.1 101")
            writer.close()
            await writer.wait_closed()
            async with here.client(start=None) as client:
                await client.socket.close()
            assert json.dumps(here.counts) == "[]"

    run(story())


LOUD = b"\1\2" * 4000


def test_there_is_time_for_what_a_decoder_still_has_before_a_flush_and_in_a_pause() -> None:
    async def story() -> list[bytes | Command | None]:
        inbox = Inbox(decoded=True)
        for item in (LOUD, Command.FLUSH):
            await inbox.put(item)
        got = [await inbox.get() for _ in range(4)]
        await inbox.put(Command.END)
        return [*got, await inbox.get()]

    assert asyncio.run(story()) == [LOUD, b"", Command.FLUSH, b"", Command.END]
