"""Live streams: whose they are, who may write, what becomes of them; in the tables and in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import LeaseLost, LiveSessionEnded, LiveSessionNotFound, OffsetConflict, ServiceError
from core.jobs.job import JobFailure, JobStatus, new_id
from core.jobs.origin import Origin, OriginKind
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.live.memory import MemorySessions
from core.live.options import StreamOptions
from core.live.sessions import RESUME_SECONDS, LiveSessions, NewSession, SessionLease, StoredUtterance
from core.store.sql import SqlStore
from core.submission.retry import retry
from core.system.clock import ManualClock
from tests.core.store_kit import clock, empty, open_store, store, take, url

__all__ = ["clock", "store", "url"]


@pytest.fixture(params=["twin", "sqlite", "postgres"])
def sessions(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[LiveSessions]:
    if request.param == "twin":
        yield MemorySessions(clock)
        return
    if request.param == "sqlite":
        made = SqlStore.in_memory(clock=clock)
    else:
        made = open_store(request.getfixturevalue("postgres_url"), clock)
        empty(made.database)
    yield made
    made.close()


def begin(sessions: LiveSessions, owner: str | None = "anna", **options: Any) -> SessionLease:
    params = JobParams(model="base", language="de", metadata={"a": 1}).to_dict()
    new = NewSession(id=new_id(), owner=owner, options=StreamOptions(**options), params=params)
    return sessions.begin_session(new, consumer="here", lease_seconds=10)


def said(number: int, text: str = "hello", **more: Any) -> StoredUtterance:
    start = number * 16_000
    values: dict[str, Any] = {"start": start, "end": start + 16_000, "chunk": {"index": number}, "said": {"text": text}}
    return StoredUtterance(number=number, final={"text": text}, **values | more)


def with_audio(sessions: LiveSessions, lease: SessionLease, size: int = 64_000) -> SessionLease:
    start = lease.session.stored
    return sessions.keep_piece(lease, start=start, size=size, key=f"live/{lease.session.id}/{start}.{lease.fence}")


def test_what_is_final_is_kept_with_how_far_all_is(sessions: LiveSessions) -> None:
    lease = begin(sessions, channels=2, name="talk")
    session = lease.session
    assert (session.acked, session.utterances, session.stored, session.ended) == (0, 0, 0, False)
    assert (session.owner, session.consumer, session.job_id) == ("anna", "here", None)
    assert session.options == StreamOptions(channels=2, name="talk") and session.params["language"] == "de"
    lease = sessions.keep_utterances(lease, [said(0), said(1, chunk={"index": 1, "channel": 1})], acked=20_000)
    lease = sessions.keep_utterances(lease, [], acked=30_000)
    lease = sessions.keep_utterances(lease, [said(3)], acked=10_000)
    assert (lease.session.acked, lease.session.utterances) == (30_000, 4)
    sessions.keep_translation(lease, 1, {"text": "hallo"})
    sessions.keep_translation(lease, 9, {"text": "of what nobody said"})
    second = said(1, chunk={"index": 1, "channel": 1}, translation={"text": "hallo"})
    assert sessions.utterances(session.id) == [said(0), second, said(3)]
    assert sessions.utterances(session.id, first=1) == [second, said(3)]
    assert sessions.utterances(new_id()) == []


def test_what_is_told_twice_is_kept_once(sessions: LiveSessions) -> None:
    lease = begin(sessions)
    first = sessions.keep_utterances(lease, [said(0)], acked=16_000)
    again = sessions.keep_utterances(lease, [said(0, "another"), said(1)], acked=32_000)
    assert sessions.utterances(lease.session.id) == [said(0), said(1)]
    assert first.fence == again.fence == lease.fence and again.session.utterances == 2
    new = NewSession(id=lease.session.id, owner="anna", options=StreamOptions(), params={})
    assert sessions.begin_session(new, consumer="here", lease_seconds=9).session.utterances == 2, "an answer was lost"


def test_pieces_follow_each_other_without_gaps(sessions: LiveSessions) -> None:
    lease = begin(sessions)
    lease = sessions.keep_piece(lease, start=0, size=10, key="live/x/0.1")
    again = sessions.keep_piece(lease, start=0, size=10, key="live/x/0.1")
    assert again.session.stored == 10, "an answer was lost"
    for start, size, key in ((9, 5, "k"), (11, 5, "k"), (0, 10, "k"), (0, 9, "live/x/0.1")):
        with pytest.raises(OffsetConflict):
            sessions.keep_piece(lease, start=start, size=size, key=key)
    lease = sessions.keep_piece(again, start=10, size=7, key="live/x/10.1")
    assert sessions.pieces(lease.session.id) == [(0, 10, "live/x/0.1"), (10, 7, "live/x/10.1")]
    assert lease.session.stored == 17
    audio = sessions.stream_audio(lease.session.id)
    assert audio is not None and (audio.keys, audio.size, audio.channels) == (("live/x/0.1", "live/x/10.1"), 17, 1)
    assert audio.file_size == 44 + 17 == len(audio.head) + 17
    container = with_audio(sessions, begin(sessions, encoding="container"), 5)
    assert container.session.stored == 5
    found = sessions.stream_audio(container.session.id)
    assert found is not None and (found.head, found.file_size, found.channels) == (b"", 5, None)
    assert sessions.stream_audio(new_id()) is None and sessions.pieces(new_id()) == []


def test_the_newest_taker_writes_and_no_other(sessions: LiveSessions) -> None:
    late = begin(sessions)
    late = sessions.keep_utterances(late, [said(0)], acked=16_000)
    now = sessions.resume_session(late.session.id, owner="anna", consumer="there", lease_seconds=10)
    assert now.fence > late.fence and now.session == replace(late.session, consumer="there")
    writes: list[Callable[[], object]] = [
        lambda: sessions.keep_utterances(late, [said(1)], acked=99_000),
        lambda: sessions.keep_piece(late, start=0, size=9, key="late"),
        lambda: sessions.keep_translation(late, 0, {"text": "late"}),
        lambda: sessions.renew_session(late, lease_seconds=99),
        lambda: sessions.leave_session(late, seconds=0),
        lambda: sessions.end_session(late),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert sessions.utterances(late.session.id) == [said(0)] and sessions.pieces(late.session.id) == []
    assert sessions.keep_utterances(now, [said(1)], acked=32_000).session.utterances == 2
    sessions.end_session(now)
    for write in (*writes[:5], lambda: sessions.keep_utterances(now, [said(2)], acked=48_000)):
        with pytest.raises(LeaseLost):
            write()


def test_anothers_stream_is_none(sessions: LiveSessions) -> None:
    lease, nobodys = begin(sessions), begin(sessions, owner=None)
    for owner in ("bert", None, ""):
        with pytest.raises(LiveSessionNotFound):
            sessions.resume_session(lease.session.id, owner=owner, consumer="there", lease_seconds=10)
    with pytest.raises(LiveSessionNotFound):
        sessions.resume_session(new_id(), owner="anna", consumer="there", lease_seconds=10)
    assert sessions.resume_session(nobodys.session.id, owner=None, consumer="x", lease_seconds=9).fence == 2
    assert [one.id for one in sessions.sessions("anna")] == [lease.session.id]
    assert [one.id for one in sessions.sessions(None)] == [nobodys.session.id]
    assert [one.id for one in sessions.sessions(None, all_owners=True)] == [nobodys.session.id, lease.session.id]
    sessions.end_session(lease)
    assert sessions.sessions("anna") == []


def test_who_does_not_come_back_has_ended(sessions: LiveSessions, clock: ManualClock) -> None:
    dead, left, renewed, back = (with_audio(sessions, begin(sessions)) for _ in range(4))
    clock.advance(9)
    sessions.renew_session(renewed, lease_seconds=10)
    sessions.leave_session(left)
    sessions.leave_session(back)
    clock.advance(RESUME_SECONDS)
    assert sessions.end_left_sessions() == []
    back = sessions.resume_session(back.session.id, owner="anna", consumer="there", lease_seconds=10)
    clock.advance(1.5)
    assert sorted(sessions.end_left_sessions(at_most=1) + sessions.end_left_sessions()) == sorted(
        [dead.session.id, left.session.id]
    )
    assert sessions.end_left_sessions() == []
    assert {one.id for one in sessions.sessions("anna")} == {renewed.session.id, back.session.id}
    for gone in (dead, left):
        with pytest.raises(LiveSessionEnded):
            sessions.resume_session(gone.session.id, owner="anna", consumer="there", lease_seconds=10)
        with pytest.raises(LeaseLost):
            sessions.keep_utterances(gone, [said(0)], acked=1)
        assert sessions.end_session(gone) is not None, "who wakes up is told which job it became"


def test_ending_twice_is_ending_once(sessions: LiveSessions) -> None:
    lease = with_audio(sessions, begin(sessions))
    job_id = sessions.end_session(lease)
    assert job_id is not None and sessions.end_session(lease) == job_id
    for nothing in (begin(sessions), with_audio(sessions, begin(sessions, save=False))):
        sessions.keep_utterances(nothing, [said(0)], acked=16_000)
        assert sessions.end_session(nothing) is None and sessions.end_session(nothing) is None
        assert sessions.utterances(nothing.session.id) == [] and sessions.pieces(nothing.session.id) == []


def test_who_was_not_told_of_the_end_may_ask_for_a_while(sessions: LiveSessions, clock: ManualClock) -> None:
    for save in (True, False):
        lease = with_audio(sessions, begin(sessions, save=save))
        lease = sessions.keep_utterances(lease, [said(0)], acked=16_000)
        job_id = sessions.end_session(lease, seconds=30)
        assert (job_id is not None) is save
        for _ in range(2):
            back = sessions.resume_session(lease.session.id, owner="anna", consumer="there", lease_seconds=10)
            assert (back.session.ended, back.session.job_id, back.session.acked) == (True, job_id, 16_000)
            assert sessions.utterances(lease.session.id) == [said(0)]
        for other in (lease, back):
            with pytest.raises(LeaseLost):
                sessions.keep_utterances(other, [said(1)], acked=32_000)
        with pytest.raises(LiveSessionNotFound):
            sessions.resume_session(lease.session.id, owner="bert", consumer="there", lease_seconds=10)
        clock.advance(31)
        with pytest.raises(LiveSessionEnded):
            sessions.resume_session(lease.session.id, owner="anna", consumer="there", lease_seconds=10)


# --- what only the tables can show
def test_the_end_makes_the_job(store: SqlStore) -> None:
    lease = with_audio(store, begin(store, channels=2, name="Jour fixe"))
    job_id = store.end_session(lease)
    assert job_id is not None
    job = store.of("anna").get(job_id)
    assert (job.status, job.owner) == (JobStatus.QUEUED, "anna")
    assert job.source.origin == Origin(kind=OriginKind.LIVE, name=lease.session.id, max_bytes=64_044)
    assert (job.source.filename, job.source.bytes, job.source.media_type) == ("Jour fixe.wav", 64_044, "audio/wav")
    assert job.params == JobParams(model="base", language="de", metadata={"a": 1}, channels="split")
    assert [hinted for _, hinted in store.unsent(9)] == [job_id]
    assert store.end_session(lease) == job_id and sum(store.counts().values()) == 1
    container = with_audio(store, begin(store, owner=None, encoding="container"))
    plain = store.end_session(container)
    assert plain is not None
    source = store.get(plain).source
    assert (source.bytes, source.media_type) == (64_000, "")
    assert source.filename == f"live {container.session.created_at:%Y-%m-%d %H.%M}"


def test_a_voice_that_was_deleted_keeps_no_stream_from_ending(store: SqlStore) -> None:
    params = JobParams(model="base", diarize=True, known_speakers=[{"name": "Ann", "voice": "ann"}])
    new = NewSession(id=new_id(), owner="anna", options=StreamOptions(refine=True), params=params.to_dict())
    lease = with_audio(store, store.begin_session(new, consumer="here", lease_seconds=10))
    job_id = store.end_session(lease)
    assert job_id is not None
    job = store.get(job_id)
    assert job.params.known_speakers is None and "ann" in job.warnings[0]["message"]


def test_one_that_cannot_be_ended_holds_up_no_other(
    store: SqlStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = NewSession(id=new_id(), owner=None, options=StreamOptions(), params={"of": "another version"})
    broken = with_audio(store, store.begin_session(unreadable, consumer="here", lease_seconds=1))
    clock.advance(1)
    good = with_audio(store, begin(store))
    clock.advance(100)
    assert store.end_left_sessions() == [good.session.id]
    assert f"{broken.session.id} cannot be ended" in caplog.text
    assert store.known_sessions([broken.session.id]) and store.removable_sessions(limit=9) == []


def test_rows_stay_until_the_job_has_what_it_needs(store: SqlStore) -> None:
    alive = with_audio(store, begin(store))
    unsaved = with_audio(store, begin(store, save=False))
    store.end_session(unsaved)
    lease = with_audio(store, begin(store))
    lease = store.keep_utterances(lease, [said(0)], acked=16_000)
    job_id = store.end_session(lease)
    assert job_id is not None and store.removable_sessions(limit=9) == [unsaved.session.id]
    store.remove_session(unsaved.session.id)
    assert store.finals_of(job_id) == [said(0)] and store.finals_of(new_id()) == []
    claim = take(store)
    store.brought(claim, replace(claim.job.source, sha256="b" * 64, key=f"jobs/{job_id}/source.1", origin=None))
    assert store.removable_sessions(limit=9) == [], "what was final is not taken over yet"
    done = Task(stage=TRANSCRIBE, plan={"index": 0}, state=TaskState.DONE, output={"text": "x"}, engine_seconds=2.0)
    store.plan(claim, [done])
    store.plan(claim, [replace(done, output={"text": "once more"})])
    (stored,) = store.tasks(job_id)
    assert (stored.state, stored.output, stored.engine_seconds) == (TaskState.DONE, {"text": "x"}, 2.0)
    assert store.removable_sessions(limit=9) == [lease.session.id]
    store.remove_session(lease.session.id)
    assert store.known_sessions([lease.session.id, alive.session.id]) == {alive.session.id}
    with pytest.raises(LiveSessionNotFound):
        store.resume_session(lease.session.id, owner="anna", consumer="x", lease_seconds=9)


def test_a_row_stays_while_its_client_may_still_ask(store: SqlStore, clock: ManualClock) -> None:
    lease = with_audio(store, begin(store, save=False))
    store.end_session(lease, seconds=30)
    assert store.removable_sessions(limit=9) == []
    clock.advance(31)
    assert store.removable_sessions(limit=9) == [lease.session.id]


def test_what_is_refined_takes_nothing_over(store: SqlStore) -> None:
    lease = with_audio(store, begin(store, refine=True))
    store.keep_utterances(lease, [said(0)], acked=16_000)
    job_id = store.end_session(lease)
    assert job_id is not None and store.finals_of(job_id) == []


def test_a_retry_still_needs_what_was_never_put_together(store: SqlStore) -> None:
    lease = with_audio(store, begin(store))
    job_id = store.end_session(lease)
    assert job_id is not None
    store.fail(take(store), JobFailure(code="disk_full", message="no", stage="fetching"))
    again = retry(store.of("anna"), job_id, everything=False)
    assert again.source.origin == store.get(job_id).source.origin
    for gone in (job_id, again.id):
        assert store.removable_sessions(limit=9) == []
        store.of("anna").request_delete(gone)
        store.remove(gone)
    assert store.removable_sessions(limit=9) == [lease.session.id]


def test_after_a_reboot_a_stream_is_waited_for_anew(tmp_path: Path) -> None:
    before = open_store(f"sqlite:///{tmp_path}/jobs.db", ManualClock(now=50_000.0))
    lease = with_audio(before, begin(before))
    before.close()
    clock = ManualClock(now=10.0, boot="boot-2")
    after = open_store(f"sqlite:///{tmp_path}/jobs.db", clock)
    assert after.end_left_sessions() == []
    clock.advance(RESUME_SECONDS + 1)
    assert after.end_left_sessions() == [lease.session.id]
    after.close()


def test_of_two_at_once_one_wins(url: str) -> None:
    """Two takers, two ends, and who comes back against the sweeper: with connections of their own."""
    clock = ManualClock() if url.startswith("sqlite") else None
    one, two = open_store(url, clock), open_store(url, clock)

    def at_once(*acts: Callable[[], object]) -> list[object]:
        found: list[object] = [None] * len(acts)
        together = threading.Barrier(len(acts))

        def act(n: int) -> None:
            together.wait(10)
            try:
                found[n] = acts[n]()
            except ServiceError as error:
                found[n] = error

        threads = [threading.Thread(target=act, args=(n,)) for n in range(len(acts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return found

    for _ in range(5):
        lease = with_audio(one, begin(one))
        this = lease.session.id
        taken = at_once(
            lambda s=this: one.resume_session(s, owner="anna", consumer="c", lease_seconds=9),
            lambda s=this: two.resume_session(s, owner="anna", consumer="c", lease_seconds=9),
        )
        fences = sorted(found.fence for found in taken if isinstance(found, SessionLease))
        assert fences == [2, 3]
        newest = next(found for found in taken if isinstance(found, SessionLease) and found.fence == 3)
        ends = at_once(lambda n=newest: one.end_session(n), lambda n=newest: two.end_session(n))
        assert len({*ends}) == 1 and isinstance(ends[0], str)

        lease = with_audio(one, begin(one))
        one.leave_session(lease, seconds=-1)
        this = lease.session.id
        swept, back = at_once(
            one.end_left_sessions, lambda s=this: two.resume_session(s, owner="anna", consumer="c", lease_seconds=60)
        )
        if isinstance(back, SessionLease):
            assert swept == [] and two.keep_utterances(back, [said(0)], acked=1).session.utterances == 1
            assert two.end_session(back) is not None
        else:
            assert swept == [this] and isinstance(back, LiveSessionEnded)
    assert one.counts()["queued"] == 10
    one.close()
    two.close()
