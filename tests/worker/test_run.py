"""One run from claim to end: what it stores, how it fails, and that it goes on where it was."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.audio.samples import SAMPLE_RATE
from core.errors import DatabaseUnavailable, DiskFull, HandedBack, LeaseLost
from core.jobs.job import JobStatus, Phase
from core.jobs.tasks import TaskState
from core.objects.local import LocalObjects
from core.objects.memory import MemoryObjects
from core.store.sql import SqlStore
from testbed import audio_bank
from tests.whisper.model_server import model_server
from tests.worker.kit import Kit, soon
from whisper.download.downloader import ModelDownloader
from whisper.download.sources import AddressSource, http_client
from whisper.engine.scripted import Rule
from whisper.engine.transcriber import WhisperTranscriber
from worker.pools.slots import Slots
from worker.pools.turn import take_turn
from worker.stages.source import fetch
from worker.stop import Stop


@pytest.fixture(scope="module")
def calm(minute, tmp_path_factory):
    """What an undisturbed run makes of it."""
    kit = Kit(tmp_path_factory.mktemp("calm"))
    job = kit.submit(minute)
    assert kit.run() == "completed"
    return kit.result(job)


def test_a_run_completes_and_leaves_nothing_behind(tmp_path, minute, calm):
    kit = Kit(tmp_path)
    job = kit.submit(minute)
    assert kit.run() == "completed"
    done = kit.job(job)
    assert done.status is JobStatus.COMPLETED and done.chunks_done == done.chunks_total == len(kit.chunks(job)) >= 7
    assert done.duration == pytest.approx(60.0) and done.audio_seconds_done == pytest.approx(60.0)
    assert 30 < done.speech_seconds <= 60 and (done.language, done.language_confidence) == ("en", 0.99)
    assert done.performance["engine_seconds"] == 0 and done.performance["wall"] > 0
    assert kit.result(job)["segments"] == calm["segments"] and calm["gaps"] == []
    assert not (kit.parts.settings.work / job.id).exists()
    assert len(kit.calls) == len(set(kit.calls)), "a chunk was computed twice"


def test_a_turn_runs_one_job_if_there_is_one(tmp_path, minute):
    kit = Kit(tmp_path)
    slots = Slots(1, tmp_path / "slots")
    assert not take_turn(kit.parts, slots, 0, kit.stop), "there was no job yet"
    job = kit.submit(minute)
    assert take_turn(kit.parts, slots, 0, kit.stop) and slots.is_free(0)
    assert kit.job(job).status is JobStatus.COMPLETED


def test_twenty_interruptions_give_the_same_transcript(tmp_path, minute, calm):
    kit = Kit(tmp_path, delay=0.005)
    job = kit.submit(minute)
    kit.run_until(job, 1)
    for n in range(20):
        if kit.job(job).status is JobStatus.COMPLETED:
            break
        kit.run_until(job, min(kit.chunks_done(job) + n % 2, 6))
    if kit.job(job).status is not JobStatus.COMPLETED:
        assert kit.run() == "completed"
    assert kit.result(job)["segments"] == calm["segments"]
    chunks = [call for call in kit.calls if call != "language"]
    assert len(chunks) == len(set(chunks)), "a finished chunk was computed again"
    assert kit.job(job).attempts == 1, "a clean hand-back cost an attempt"


def test_a_resumed_job_is_handed_back_while_its_open_chunks_wait_for_their_samples(tmp_path, calm):
    """Asked twice to stop, the decoder still at the file's beginning."""
    pcm, _ = audio_bank.speech(minutes=1.0, seed=41)
    kit = Kit(tmp_path, Rule(kind="hang", label="chunk 3/*"), shutdown_seconds=0.1)
    job = kit.submit(audio_bank.write(tmp_path / "talk.flac", pcm).read_bytes())
    assert kit.run_until(job, 2) == "handed back"
    kit.script()
    whole, slow = kit.parts, tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\n{whole.ffmpeg.path} "$@" | (head -c 64000; exec sleep 60)\n')
    slow.chmod(0o755)
    kit.parts = replace(whole, ffmpeg=replace(whole.ffmpeg, path=str(slow)))

    def watch():
        soon(lambda: kit.job(job).stage is Phase.TRANSCRIBING)
        time.sleep(0.2)
        kit.stop.set()
        kit.stop.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert kit.run() == "handed back"
    thread.join(10)
    kit.stop, kit.parts = Stop(), whole
    assert kit.run() == "completed"
    assert kit.result(job)["segments"] == calm["segments"] and kit.job(job).attempts == 1


def test_a_stop_does_not_wait_for_a_model_that_does_not_come(tmp_path, minute):
    kit = Kit(tmp_path, shutdown_seconds=60)
    job = kit.submit(minute, model="tiny")
    asked = threading.Event()

    def client():
        asked.set()
        return http_client()

    with model_server("busy") as server:
        downloader = ModelDownloader(
            kit.parts.models, [AddressSource("mirror", server.url, client=client, pauses=(60.0,))]
        )
        kit.parts = replace(kit.parts, transcriber=WhisperTranscriber(kit.parts.transcriber.engine, downloader))
        thread = threading.Thread(target=lambda: asked.wait(30) and kit.stop.set(), daemon=True)
        thread.start()
        began = time.monotonic()
        assert kit.run() == "handed back"
        assert time.monotonic() - began < 30
    assert (kit.job(job).status, kit.job(job).attempts) == (JobStatus.QUEUED, 0)


def test_a_failed_chunk_becomes_a_gap(tmp_path, minute, calm):
    kit = Kit(tmp_path, Rule(kind="crash", label="chunk 3/*"))
    job = kit.submit(minute)
    assert kit.run() == "completed"
    done = kit.job(job)
    assert done.partial and [gap["reason"] for gap in done.gaps] == ["chunk_failed"]
    kept = [s for s in calm["segments"] if s["end"] <= done.gaps[0]["start"] or s["start"] >= done.gaps[0]["end"]]
    found = [s["text"] for s in kit.result(job)["segments"]]
    assert len(kept) >= 4 and found == [s["text"] for s in kept]
    row = kit.chunks(job)[2]
    assert row.state is TaskState.FAILED and row.error["code"] == "chunk_failed"
    assert kit.calls.count("chunk 3") == 2, "a chunk whose worker dies is tried once more"


def test_too_many_failed_chunks_fail_the_job(tmp_path, minute):
    kit = Kit(tmp_path, Rule(kind="timeout"), Rule(kind="crash"))
    kit.script(Rule(kind="timeout", label="chunk*"))
    job = kit.submit(minute)
    assert kit.run() == "failed chunk_timeout"
    error = kit.job(job).error
    assert error.retryable and "CHUNK_TIMEOUT" in error.message and error.stage == "merging"


def test_retry_takes_over_finished_chunks(tmp_path, minute, calm):
    kit = Kit(tmp_path, Rule(kind="crash", label="chunk 3/*"))
    first = kit.submit(minute)
    kit.run()
    before = len(kit.calls)
    kit.script()
    second = kit.submit(minute, retry_of=first.id)
    assert kit.run() == "completed"
    assert kit.calls[before:] == ["chunk 3"]
    assert kit.result(second)["segments"] == calm["segments"] and not kit.job(second).partial


@pytest.mark.parametrize(
    ("when", "error"), [("before", LeaseLost), ("after", LeaseLost), ("before", DatabaseUnavailable)]
)
def test_what_a_retry_takes_over_is_not_lost_with_its_owner_or_an_outage(tmp_path, minute, when, error):
    kit = Kit(tmp_path, Rule(kind="crash", label="chunk 3/*"), language="de")
    first = kit.submit(minute)
    kit.run()
    before = len(kit.calls)
    kit.script()  # an engine that hears English

    class Flaky(SqlStore):
        failures = 1

        def adopt(self, claim, from_job, identities):
            if when == "after":
                super().adopt(claim, from_job, identities)
            if self.failures:
                self.failures -= 1
                raise error
            return super().adopt(claim, from_job, identities)

    kit.store = Flaky(kit.store.database)
    kit.parts = replace(kit.parts, store=kit.store)
    second = kit.submit(minute, retry_of=first.id)
    outcome = kit.run()
    if error is LeaseLost:
        assert outcome == "lease lost"
        kit.store.free_owner(kit.job(second).lease_owner)
        outcome = kit.run()
    assert outcome == "completed"
    assert kit.calls[before:] == ["chunk 3"]
    assert kit.job(second).language == kit.result(second)["language"]["code"] == "de"


def killed(kit, times):
    """From now on a decoder that is killed from outside so many times."""
    program = kit.folder / "killed"
    for n in range(times):  # it may write to no file, but remove some
        (kit.folder / f"kill-{n}").touch()
    program.write_text(
        f'#!/bin/sh\nfor mark in {kit.folder}/kill-*; do if rm "$mark" 2>&-; then kill -KILL $$; fi; done\n'
        f'exec {kit.parts.ffmpeg.path} "$@"\n'
    )
    program.chmod(0o755)
    kit.parts = replace(kit.parts, ffmpeg=replace(kit.parts.ffmpeg, path=str(program)))


def flac(folder):
    """A plain WAV file needs no ffmpeg."""
    pcm, _ = audio_bank.speech(minutes=0.2, seed=41)
    return audio_bank.write(folder / "talk.flac", pcm).read_bytes()


@pytest.mark.parametrize("times", [1, 2])
def test_a_decoder_that_was_killed_is_tried_once_more(tmp_path, times):
    kit = Kit(tmp_path)
    killed(kit, times)
    job = kit.submit(flac(tmp_path))
    if times == 1:
        assert kit.run() == "completed"
        return
    assert kit.run() == "failed audio_undecodable"
    error = kit.job(job).error
    assert (error.code, error.retryable, error.stage) == ("audio_undecodable", True, "decoding")


def test_a_decoder_that_is_killed_at_shutdown_fails_nothing(tmp_path):
    kit = Kit(tmp_path)
    killed(kit, 9)
    job = kit.submit(flac(tmp_path))
    kit.stop.set()
    assert kit.run() == "handed back"
    assert (kit.job(job).status, kit.job(job).attempts) == (JobStatus.QUEUED, 0)


def test_speech_without_text_is_tried_again_and_then_told(tmp_path):
    kit = Kit(tmp_path)
    pcm, _ = audio_bank.speech(minutes=0.2, seed=3)
    quiet = (pcm / 400).astype(np.int16)  # the detector still hears it, the scripted engine does not
    job = kit.submit(audio_bank.write(tmp_path / "a.wav", quiet).read_bytes())
    assert kit.run() == "completed"
    done = kit.job(job)
    if kit.chunks(job)[0].plan["regions"]:
        assert done.partial and {gap["reason"] for gap in done.gaps} == {"no_text"}
        assert kit.calls.count("chunk 1") == 2
    else:
        assert [w["code"] for w in done.warnings] == ["no_speech"]


def test_an_engine_that_stays_away_fails_the_job_with_its_code(tmp_path, minute):
    kit = Kit(tmp_path, Rule(kind="unavailable"))
    job = kit.submit(minute)
    assert kit.run() == "failed engine_unavailable"
    assert kit.job(job).error.retryable


def test_an_engine_that_comes_back_costs_nothing(tmp_path, minute, calm):
    kit = Kit(tmp_path, Rule(kind="unavailable", label="chunk 2/*", calls=(1,)))
    job = kit.submit(minute)
    assert kit.run() == "completed"
    assert kit.result(job)["segments"] == calm["segments"] and kit.job(job).attempts == 1


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda kit, job: kit.objects.delete(job.source.key), "source_missing"),
        (
            lambda kit, job: kit.objects.put(
                job.source.key, __import__("io").BytesIO(b"RIFF" + b"\1" * (job.source.bytes - 4))
            ),
            "source_corrupt",
        ),
        (lambda kit, job: kit.objects.put(job.source.key, __import__("io").BytesIO(b"RIFF")), "source_corrupt"),
    ],
)
def test_a_spoilt_source_has_its_code(tmp_path, minute, spoil, code):
    kit = Kit(tmp_path)
    job = kit.submit(minute)
    spoil(kit, job)
    assert kit.run() == f"failed {code}"
    assert kit.job(job).error.code == code and kit.job(job).error.stage == "decoding"


def test_a_store_that_cannot_be_read_for_a_moment_is_waited_for(tmp_path, minute):
    kit = Kit(tmp_path)
    objects = LocalObjects(tmp_path / "objects")
    kit.parts = replace(kit.parts, objects=objects)
    job = kit.submit(minute)
    path = tmp_path / "objects" / job.source.key
    path.parent.mkdir(parents=True)
    path.symlink_to("/proc/self/mem")  # reading it is EIO
    assert kit.run() == "put off"
    assert kit.job(job).status is JobStatus.QUEUED


def test_a_job_that_goes_on_under_another_decoder_keeps_its_plan(tmp_path):
    """Which gives half a second less here."""
    pcm, _ = audio_bank.speech(minutes=1.2, seed=41)
    source = audio_bank.write(tmp_path / "talk.flac", pcm).read_bytes()
    calm = Kit(tmp_path / "calm")
    whole = calm.submit(source)
    assert calm.run() == "completed"
    kit = Kit(tmp_path / "other", delay=0.5)
    job = kit.submit(source)
    assert kit.run_until(job, 1, planned=True) == "handed back"
    assert kit.chunks_done(job) < kit.job(job).chunks_total, "the plan is complete, the work is not"
    program = kit.folder / "other-ffmpeg"
    program.write_text(f'#!/bin/sh\n{kit.parts.ffmpeg.path} "$@" | head -c -32000\n')
    program.chmod(0o755)
    kit.parts = replace(kit.parts, ffmpeg=replace(kit.parts.ffmpeg, path=str(program)))
    assert kit.run() == "completed"
    assert kit.job(job).duration == calm.job(whole).duration
    assert len(kit.chunks(job)) == len(calm.chunks(whole))


class NoRoomForResults(MemoryObjects):
    """The service is asked to stop just when a result comes."""

    def put(self, key, stream, **how):
        if "/result" in key:
            raise HandedBack
        return super().put(key, stream, **how)


def test_a_job_of_which_only_the_end_was_missing_reads_nothing_again(tmp_path, minute, calm):
    kit = Kit(tmp_path)
    room = kit.objects
    kit.objects = NoRoomForResults()
    kit.parts = replace(kit.parts, objects=kit.objects)
    job = kit.submit(minute)
    assert kit.run() == "handed back"
    calls = kit.calls
    kit.objects, kit.parts = room, replace(kit.parts, objects=room)  # where the upload is not
    assert kit.run() == "completed"
    assert kit.calls == calls and kit.result(job)["segments"] == calm["segments"]
    assert kit.result(job)["provenance"]["library"] == "scripted"


def test_a_full_work_folder_is_told_by_its_error(tmp_path, minute):
    kit = Kit(tmp_path)
    job = kit.submit(minute)
    (tmp_path / "source").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match="WORK_DIR"):
        fetch(kit.objects, job.source, tmp_path, kit.stop)


def test_a_job_whose_row_went_is_cancelled_and_no_defect(tmp_path, minute, caplog):
    kit = Kit(tmp_path)
    job = kit.submit(minute)

    class Deleted(SqlStore):
        def get(self, job_id):
            self.request_delete(job_id)
            return super().get(job_id)

    kit.parts = replace(kit.parts, store=Deleted(kit.store.database))
    assert kit.run() == "cancelled"
    assert [gone.id for gone in kit.store.removable(limit=9)] == [job.id]
    assert "Unexpected error" not in caplog.text


def test_an_unknown_error_is_internal_and_not_a_traceback(tmp_path, minute):
    kit = Kit(tmp_path)

    def broken():
        raise RuntimeError("secret detail")

    kit.parts = replace(kit.parts, vad=broken)
    job = kit.submit(minute)
    assert kit.run() == "failed internal"
    assert "secret" not in kit.job(job).error.message


def test_cancel_stops_a_chunk_that_hangs(tmp_path, minute):
    kit = Kit(tmp_path, Rule(kind="hang", label="chunk*"))
    job = kit.submit(minute)
    began = []

    def cancel():
        soon(lambda: [call for call in kit.calls if call.startswith("chunk")])
        began.append(time.monotonic())
        kit.cancel(job)

    threading.Thread(target=cancel, daemon=True).start()
    assert kit.run() == "cancelled"
    assert time.monotonic() - began[0] < 5.0
    assert kit.job(job).status is JobStatus.CANCELLED


def test_a_lost_lease_stops_the_run_and_writes_nothing(tmp_path, minute):
    kit = Kit(tmp_path, Rule(kind="hang", label="chunk 4/*"), lease_seconds=0.6)
    job = kit.submit(minute)

    def steal():
        soon(lambda: kit.chunks_done(job) >= 3)
        kit.store.free_owner(kit.job(job).lease_owner)
        assert kit.store.claim(owner="other/1:1", consumer="other", lease_seconds=60) is not None

    thread = threading.Thread(target=steal, daemon=True)
    thread.start()
    assert kit.run() == "lease lost"
    thread.join(10)
    after = kit.job(job)
    assert (after.status, after.lease_owner, after.attempts) == (JobStatus.PROCESSING, "other/1:1", 2)


def test_the_database_away_for_a_while_loses_no_finished_chunk(tmp_path, minute, calm):
    """The commit of a finished chunk waits with it in hand."""
    kit = Kit(tmp_path)

    class Flaky(SqlStore):
        failures = 3

        def commit(self, lease, part):
            if part.number == 1 and self.failures:
                self.failures -= 1
                raise DatabaseUnavailable
            return super().commit(lease, part)

    kit.store = Flaky(kit.store.database)
    kit.parts = replace(kit.parts, store=kit.store)
    job = kit.submit(minute)
    assert kit.run() == "completed"
    assert kit.calls.count("chunk 2") == 1 and kit.result(job)["segments"] == calm["segments"]


@pytest.mark.parametrize("strategy", ["silence", "fixed"])
def test_other_strategies_plan_the_whole_file(tmp_path, minute, strategy):
    kit = Kit(tmp_path, chunk_strategy=strategy)
    job = kit.submit(minute)
    assert kit.run() == "completed"
    plans = [row.plan for row in kit.chunks(job)]
    assert plans[0]["start"] == 0 and plans[-1]["end"] == 60 * 16_000
    assert all(a["end"] == b["start"] for a, b in zip(plans, plans[1:], strict=False))


def test_the_log_tells_what_happened(tmp_path, minute, caplog):
    caplog.set_level("INFO")
    kit = Kit(tmp_path, Rule(kind="crash", label="chunk 2/*"))
    kit.submit(minute)
    kit.run()
    text = caplog.text
    assert "Transcribing (parallel, 2 workers)" in text and "[2/" in text and "Failed in" in text
    assert "Success rate: 8" in text and "Progress: " in text
    assert "alder" not in text and "willow" not in text, "transcript text in the log"


def two_tracks(folder: Path) -> bytes:
    """A silent track, which the file calls default, before one with a minute of speech."""
    said = audio_bank.write(folder / "said.wav", audio_bank.speech(minutes=1.0, seed=41)[0])
    silent = audio_bank.write(folder / "silent.wav", np.zeros(60 * 16_000, np.int16))
    audio_bank.ffmpeg(
        "-i",
        str(silent),
        "-i",
        str(said),
        "-map",
        "0",
        "-map",
        "1",
        "-c:a",
        "flac",
        "-metadata:s:a:1",
        "language=ger",
        str(folder / "two.mka"),
    )
    return (folder / "two.mka").read_bytes()


def test_a_track_with_speech_is_found_again_after_an_interruption(tmp_path, calm):
    kit = Kit(tmp_path, delay=0.2)
    job = kit.submit(two_tracks(tmp_path))
    assert kit.run_until(job, chunks=2) == "handed back"
    assert kit.run() == "completed"
    result = kit.result(job)
    assert [segment["start"] for segment in result["segments"]] == [segment["start"] for segment in calm["segments"]]
    (warning,) = [w for w in result["warnings"] if w["code"] == "other_audio_tracks"]
    assert "Sound track 1 (ger) was transcribed" in warning["message"] and "others: 0" in warning["message"]


def test_a_wanted_track_is_taken_and_one_that_is_not_there_fails_the_job(tmp_path):
    kit, data = Kit(tmp_path), two_tracks(tmp_path)
    silent, missing, other = (
        kit.submit(data, audio_track=0),
        kit.submit(data, audio_track=7),
        kit.submit(data, audio_track="fr"),
    )
    assert [kit.run(), kit.run(), kit.run()] == [
        "completed",
        "failed audio_track_missing",
        "failed audio_track_missing",
    ]
    assert "no_speech" in {w["code"] for w in kit.job(silent).warnings}
    error = kit.job(missing).error
    assert error.code == "audio_track_missing" and not error.retryable
    assert "There is no sound track 7" in error.message and "0, 1 (ger)" in error.message
    assert "'fr'" in kit.job(other).error.message
    assert kit.job(silent).plan_hash not in (None, kit.job(kit.submit(data)).plan_hash)


def test_quiet_speech_that_is_left_out_is_told_however_often_the_run_is_interrupted(tmp_path):
    loud, quiet = (audio_bank.speech(minutes=0.25, seed=seed, noise_db=None)[0] for seed in (41, 42))
    pause = np.zeros(3 * SAMPLE_RATE, np.int16)
    pcm = np.concatenate([loud, pause, np.round(quiet / 100).astype(np.int16), pause, loud])
    source = audio_bank.write(tmp_path / "talk.wav", pcm).read_bytes()

    def told(kit, job):
        return [one["message"] for one in kit.result(job)["warnings"] if one["code"] == "quiet_speech_left_out"]

    calm = Kit(tmp_path / "calm")
    whole = calm.submit(source)
    assert calm.run() == "completed"
    (message,) = told(calm, whole)
    assert re.search(r" in all: (1[89]|2\d|3[0-3])\.\d to .* s\.$", message), "the quiet part lies from 18 to 33 s"
    kit = Kit(tmp_path / "stopped", Rule(kind="crash", label="chunk 4/*"), delay=0.01)
    job = kit.submit(source)
    for chunks in (1, 2, 3):  # at the latest the third time the plan is complete, and nobody listens again
        if kit.job(job).status is not JobStatus.COMPLETED:
            kit.run_until(job, chunks)
    if kit.job(job).status is not JobStatus.COMPLETED:
        assert kit.run() == "completed"
    assert told(kit, job) == [message]
    kit.script()
    again = kit.submit(source, retry_of=job.id)
    assert kit.run() == "completed" and told(kit, again) == [message]
