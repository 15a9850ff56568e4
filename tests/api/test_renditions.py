"""Audio in forms that players can play: by the real programs, and what happens while one is made."""

from __future__ import annotations

import asyncio
import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from api.audio.encoding import encode
from api.audio.forms import FormName, encoder_failure
from api.audio.programs import Request
from api.audio.renditions import Give, Kept, Making, Renditions
from core.audio.ffmpeg import find
from core.audio.samples import SAMPLE_RATE
from core.errors import AudioUndecodable, Cancelled, InsufficientStorage, NotReady, ServiceError, Unsupported
from core.jobs.job import Job
from core.objects.local import LocalObjects
from core.objects.memory import MemoryObjects
from core.objects.store import ObjectStore
from core.queue.hints import MemoryHints
from core.queue.sweeper import Sweeper
from core.store.sql import SqlStore
from testbed.audio_bank import ffmpeg, write
from tests.api.serving import Service, make_app, service, serving, wav
from tests.api.test_jobs import complete
from tests.api.test_peaks import some_job
from tests.api.test_submit import refused
from tests.core.store_kit import new_job

FFMPEG = find()
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "play.md"
LATE = 1.0
"""When the sound of the film starts, seconds."""


def by_the_program(objects: ObjectStore) -> Callable[[Job, FormName, Give], None]:
    def made(job: Job, name: FormName, give: Give) -> None:
        request = Request(
            ffmpeg=FFMPEG.path,
            version=FFMPEG.version,
            max_seconds=60.0,
            media_type=job.source.media_type,
            track=job.params.audio_track,
        )
        with objects.open(job.source.key) as source:
            encode(request, objects.local_path(job.source.key) or source, name, give)

    return made


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A moving picture of 3 s; from one second on there is a tone, in stereo, of a codec that no browser plays."""
    folder = tmp_path_factory.mktemp("film")
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE) * 8000
    voice = write(folder / "tone.wav", tone.astype(np.int16))
    picture = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=3")
    sound = ("-itsoffset", str(LATE), "-i", str(voice), "-map", "0:v", "-map", "1:a", "-c:a", "ac3", "-ac", "2")
    ffmpeg(*picture, *sound, str(folder / "film.mkv"))
    return (folder / "film.mkv").read_bytes()


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("playing")
    objects = LocalObjects(folder / "objects")
    with service(folder, objects=objects, encode=by_the_program(objects), measure=lambda _: b"\x01") as started:
        yield started


def audio(running: Service, job: dict[str, Any], form: str = "mp3", **headers: str) -> httpx.Response:
    return running.client.get(f"{job['links']['self']}/audio", params={"format": form}, headers=headers)


@pytest.mark.parametrize(("form", "media_type", "delay"), [("mp3", "audio/mpeg", 0.1), ("opus", "audio/ogg", 0.0)])
def test_a_film_becomes_playable_at_the_times_of_its_transcript(
    playing: Service, film: bytes, form: str, media_type: str, delay: float
) -> None:
    job = playing.submit(film, name="Grüße.mkv").json()
    first = audio(playing, job, form)
    assert (first.status_code, first.headers["Content-Type"]) == (200, media_type)
    assert f".{form}" in first.headers["Content-Disposition"]
    pcm = np.frombuffer(
        ffmpeg("-i", "pipe:0", "-f", "s16le", "-ar", "16000", "-ac", "1", "pipe:1", stdin=first.content), "<i2"
    )
    assert 3.0 - 0.05 <= len(pcm) / SAMPLE_RATE <= 3.0 + delay + 0.1
    (loud,) = np.nonzero(np.abs(pcm.astype(int)) > 2000)
    assert abs(loud[0] / SAMPLE_RATE - LATE) <= delay + 0.05
    while len([key for key in playing.keys if key.endswith(form)]) == 0:  # it is kept a moment after its last byte
        time.sleep(0.01)
    again = audio(playing, job, form)
    assert again.content == first.content and again.headers["Accept-Ranges"] == "bytes"
    etag, size = again.headers["ETag"], len(again.content)
    part = audio(playing, job, form, Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, first.content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{size}"
    assert audio(playing, job, form, **{"If-None-Match": etag}).status_code == 304
    refused(audio(playing, job, form, Range=f"bytes={size}-"), 416, "invalid_range")
    head = playing.client.head(f"{job['links']['self']}/audio", params={"format": form})
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(size))
    examples = re.findall(r"localhost:8000(/api/v1/jobs/\$ID\S*)\"", PAGE.read_text("utf-8"))
    assert len(examples) == 3
    for example in examples:
        assert playing.client.get(example.replace("$ID", job["id"])).status_code == 200


def test_what_cannot_be_played_is_said(playing: Service, tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=1", str(tmp_path / "mute.mp4"))
    for content, name, code in (
        ((tmp_path / "mute.mp4").read_bytes(), "mute.mp4", "no_audio_stream"),
        (b"RIFF\xff\xff\xff\x00WAVEfmt " + b"\x01" * 1000, "nonsense.wav", "audio_undecodable"),
    ):
        job = playing.submit(content, name=name).json()
        refused(audio(playing, job), 422, code)
    for asked in ("wma", "", "MP3"):
        refused(audio(playing, job, asked), 422, "validation")
    twice = playing.client.get(f"{job['links']['self']}/audio?format=mp3&format=opus")
    refused(twice, 422, "validation")
    playing.objects.delete(playing.store.get(job["id"]).source.key)
    refused(audio(playing, job), 500, "internal")


def test_an_encoder_that_is_not_there() -> None:
    assert isinstance(encoder_failure("opus", b"Unknown encoder 'libopus'\n", 1), Unsupported)
    assert type(encoder_failure("opus", b"[out] no\n", 1)) is ServiceError


class Slow:
    """Gives a little, and the rest when it may."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.made: list[str] = []

    def __call__(self, job: Job, name: FormName, give: Give) -> None:
        self.made.append(job.id)
        try:
            give(b"first ")
            self.begun.set()
            for _ in range(6000):
                if self.go_on.wait(0.01):
                    break
                give(b"")
            give(b"last")
        finally:
            self.ended.set()


def renditions(slow: Any, objects: ObjectStore | None = None, **parts: Any) -> Renditions:
    usual: dict[str, Any] = {"most": 2, "there": lambda _: True, "room": lambda: None, "patience": 0.01, "linger": 0.0}
    return Renditions(objects or MemoryObjects(), slow, **(usual | parts))


def of(forms: Renditions, job: Job) -> Kept | Making:
    return asyncio.run(forms.of(job, "mp3"))


def begun(forms: Renditions, job: Job) -> Making:
    """One whose first bytes are there."""
    deadline = time.monotonic() + 20
    while True:
        try:
            found = of(forms, job)
        except NotReady:
            assert time.monotonic() < deadline
            continue
        assert isinstance(found, Making)
        return found


def settled(forms: Renditions, job: Job) -> Kept | None:
    deadline = time.monotonic() + 20
    while forms._making:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return forms.kept(job, "mp3")


@contextmanager
def slowly(folder: Path) -> Iterator[tuple[Slow, Renditions, Job, httpx.Client]]:
    """A service that makes forms slowly, and a job whose audio is at the client's address."""
    slow, store = Slow(), SqlStore.in_memory()
    app = make_app(folder, store, encode=slow)
    job = store.of(None).create(new_job())
    app.state.parts.deps.objects.put(job.source.key, io.BytesIO(wav()))
    with serving(app) as port:
        address = f"http://127.0.0.1:{port}/api/v1/jobs/{job.id}"
        with httpx.Client(base_url=address, params={"format": "mp3"}, timeout=30, trust_env=False) as client:
            yield slow, app.state.parts.renditions, job, client


def test_it_comes_while_it_is_made_to_all_who_want_it(tmp_path: Path) -> None:
    with slowly(tmp_path) as (slow, forms, job, client):
        head = client.head("audio")
        assert head.status_code == 200 and "Content-Length" not in head.headers and not slow.made
        with client.stream("GET", "audio", headers={"Range": "bytes=3-"}) as one:
            assert (one.status_code, one.headers["Accept-Ranges"]) == (200, "none")
            assert "Content-Length" not in one.headers and "ETag" not in one.headers
            pieces = one.iter_raw()
            assert next(pieces) == b"first "
            with client.stream("GET", "audio") as other:
                slow.go_on.set()
                assert b"".join(pieces) == b"last" and other.read() == b"first last"
        assert settled(forms, job) and slow.made == [job.id]
        part = client.get("audio", headers={"Range": "bytes=6-"})
        assert (part.status_code, part.content) == (206, b"last")


def test_a_client_that_goes_is_not_counted_any_more(tmp_path: Path) -> None:
    with slowly(tmp_path) as (slow, forms, _, client):
        with client.stream("GET", "audio") as answer:
            pieces = answer.iter_raw()
            assert next(pieces) == b"first "
            (making,) = forms._making.values()
            assert making._readers == 1
        deadline = time.monotonic() + 20
        while making._readers:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        slow.go_on.set()
        assert slow.ended.wait(20)


def test_when_nobody_wants_it_any_more_its_making_ends() -> None:
    slow = Slow()
    forms, job = renditions(slow, linger=0.05), some_job()
    making = begun(forms, job)
    assert not slow.ended.wait(0.2)
    making.detach()
    assert slow.ended.wait(20) and not slow.go_on.is_set()
    assert settled(forms, job) is None and making._file.closed


def test_so_many_at_once_and_no_more() -> None:
    slow, jobs = Slow(), [some_job() for _ in range(3)]
    forms = renditions(slow, linger=60.0)
    making = [begun(forms, job) for job in jobs[:2]]
    with pytest.raises(NotReady, match="Other files") as busy:
        of(forms, jobs[2])
    assert busy.value.details["retry_after"]
    begun(forms, jobs[0]).detach()  # one that is made already takes no place
    slow.go_on.set()
    assert settled(forms, jobs[0])
    for one in making:
        one.detach()
    assert isinstance(of(renditions(slow, most=2, patience=20.0), jobs[2]), Kept)
    with pytest.raises(Unsupported):
        of(renditions(slow, most=0), jobs[2])

    def full() -> None:
        raise InsufficientStorage

    with pytest.raises(InsufficientStorage):
        of(renditions(slow, room=full), jobs[2])


def test_what_failed_is_told_and_tried_again() -> None:
    def late(job: Job, name: FormName, give: Give) -> None:
        give(b"first ")
        go_on.wait(20)
        raise AudioUndecodable

    go_on = threading.Event()
    forms, job = renditions(late, linger=60.0), some_job()
    making = begun(forms, job)
    go_on.set()
    with pytest.raises(AudioUndecodable):
        while making.begun(0.0, 20.0) is None:
            time.sleep(0.01)
    making.detach()
    assert settled(forms, job) is None and making._file.closed
    with pytest.raises(AudioUndecodable):
        of(renditions(late, patience=20.0), job)


def test_what_cannot_be_kept_is_given_all_the_same() -> None:
    class Full(MemoryObjects):
        def put(self, key: str, data: Any, *, media_type: str = "") -> int:
            raise InsufficientStorage

    slow = Slow()
    slow.go_on.set()
    found = of(renditions(slow, Full(), patience=20.0), some_job())
    assert isinstance(found, Making)
    found.detach()


def test_nothing_is_kept_of_a_job_that_was_removed_meanwhile() -> None:
    slow, objects = Slow(), MemoryObjects()
    slow.go_on.set()
    found = of(renditions(slow, objects, there=lambda _: False, patience=20.0), some_job())
    assert isinstance(found, Making) and not list(objects.keys(""))
    found.detach()


def test_a_program_is_ended_with_what_it_started() -> None:
    """A file that takes long to decode, and nobody who waits for it."""
    me, started = psutil.Process(), set[psutil.Process]()
    before = {*me.children(recursive=True)}

    def gone(data: bytes) -> None:
        if data:
            started.update({*me.children(recursive=True)} - before)
            raise Cancelled

    request = Request(
        ffmpeg=FFMPEG.path, version=FFMPEG.version, max_seconds=36_000.0, media_type="audio/x-wav", track=None
    )
    minute = ffmpeg("-f", "lavfi", "-i", "sine=r=16000:d=60", "-f", "flac", "pipe:1")
    with pytest.raises(Cancelled):
        encode(request, io.BytesIO(minute), "mp3", gone)
    assert started and not psutil.wait_procs(started, timeout=20)[1]


def test_forms_go_with_the_audio(serve: Callable[..., Service]) -> None:
    def made(job: Job, name: FormName, give: Give) -> None:
        give(b"sound")

    running = serve(encode=made)
    job = complete(running)
    assert audio(running, job).content == b"sound"
    assert any(key.endswith(".mp3") for key in running.keys)
    sweeper = Sweeper(running.store, running.objects, MemoryHints(), interval=5, max_attempts=3, audio_hours=1e-9)
    sweeper.sweep_once()
    assert running.keys == []
    refused(audio(running, job), 410, "expired")
