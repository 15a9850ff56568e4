"""Each channel by itself: its text is that of the channel alone, to the letter, and nothing is computed twice."""

from __future__ import annotations

import io
import json
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.events.finals import Growing
from core.audio.samples import SAMPLE_RATE, Pcm
from core.jobs.job import Job, JobStatus
from core.speech.chunks import Chunk
from core.transcript.formats import from_result
from core.transcript.values import Transcript
from testbed import audio_bank
from tests.worker.kit import Kit
from whisper.engine.host_diarizer import TurnsDiarizer
from whisper.engine.scripted import Rule
from whisper.speakers.scripted import ScriptedNetworks


def recorded(*channels: Pcm) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.stack(channels, axis=1).astype("<i2").tobytes())
    return out.getvalue()


@pytest.fixture(scope="module")
def talks() -> list[Pcm]:
    """30 s each, with pauses that are spliced out: one without any noise, one with, one that ends after 12 s."""
    pauses = [(None, 0.3, 1), (40.0, 0.5, 2), (None, 0.2, 3)]
    made = [audio_bank.speech(0.5, seed=seed, silence=share, noise_db=noise)[0] for noise, share, seed in pauses]
    made[2][12 * SAMPLE_RATE :] = 0
    return made


def segments(kit: Kit, job: Job, channel: int | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kit.result(job)["segments"]
    return [
        {name: value for name, value in one.items() if name not in ("id", "channel")}
        for one in found
        if channel is None or one["channel"] == channel
    ]


@pytest.fixture(scope="module")
def alone(talks: list[Pcm], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The result of each of them by itself."""
    kit = Kit(tmp_path_factory.mktemp("alone"))
    jobs = [kit.submit(recorded(talk)) for talk in talks]
    assert [kit.run() for _ in jobs] == ["completed"] * len(jobs)
    return [kit.result(job) | {"segments": segments(kit, job)} for job in jobs]


def check(kit: Kit, job: Job, alone: list[dict[str, Any]]) -> None:
    result = kit.result(job)
    for channel, one in enumerate(alone):
        assert segments(kit, job, channel) == one["segments"]
    places = [(one["start"], one["channel"]) for one in result["segments"]]
    assert places == sorted(places) and len({channel for _, channel in places}) == len(alone)
    coverage = result["provenance"]["coverage"]
    assert coverage["channels"] == [
        {"channel": n}
        | {name: one["provenance"]["coverage"][name] for name in ("speech_seconds", "transcribed_seconds")}
        for n, one in enumerate(alone)
    ]
    chunks = [call for call in kit.calls if call != "language"]
    assert len(chunks) == len(set(chunks)), "a chunk was computed twice"


def test_each_channel_is_what_it_is_alone(tmp_path: Path, talks: list[Pcm], alone: list[dict[str, Any]]) -> None:
    kit = Kit(tmp_path)
    job = kit.submit(recorded(*talks), channels="split")
    assert kit.run() == "completed"
    check(kit, job, alone)
    done = kit.job(job)
    assert done.audio_seconds_done == pytest.approx(30) and done.chunks_done == done.chunks_total and not done.warnings
    assert kit.result(job)["duration"] == alone[0]["duration"] == 30.0

    # followed while it runs: in order, each once, before the end
    growing, seen = Growing(words=False), []
    for chunk in kit.chunks(job):
        growing.add([chunk])
        seen.append(len(growing.segments))
    growing.end()
    assert 0 < seen[-2] < len(growing.segments) == len(kit.result(job)["segments"])
    told = [{**json.loads(one), "words": []} for one in growing.segments]
    assert told == [{**one, "words": []} for one in kit.result(job)["segments"]]


def test_however_often_it_is_interrupted(tmp_path: Path, talks: list[Pcm], alone: list[dict[str, Any]]) -> None:
    kit = Kit(tmp_path, delay=0.005)
    job = kit.submit(recorded(*talks), channels="split")
    kit.run_until(job, 1)
    for n in range(4):
        if kit.job(job).status is not JobStatus.COMPLETED:
            kit.run_until(job, min(kit.chunks_done(job) + n % 2, 6))
    if kit.job(job).status is not JobStatus.COMPLETED:
        assert kit.run() == "completed"
    check(kit, job, alone)


def test_a_chunk_that_fails_is_a_gap_of_its_channel_and_a_retry_does_that_one_alone(
    tmp_path: Path, talks: list[Pcm], alone: list[dict[str, Any]]
) -> None:
    kit = Kit(tmp_path, Rule(kind="crash", label="chunk 2/*"))
    job = kit.submit(recorded(*talks), channels="split")
    assert kit.run() == "completed"
    lost = Chunk.from_dict(kit.chunks(job)[1].plan or {})
    (gap,) = kit.job(job).gaps
    assert (gap["channel"], gap["reason"]) == (lost.channel, "chunk_failed") and kit.job(job).partial
    kit.script()
    before = len(kit.calls)
    again = kit.submit(recorded(*talks), channels="split", retry_of=job.id)
    assert kit.run() == "completed"
    assert kit.calls[before:] == ["chunk 2"]
    for channel, one in enumerate(alone):
        assert segments(kit, again, channel) == one["segments"]


@pytest.mark.parametrize("copies", [1, 2])
def test_what_has_one_channel_is_as_mixed_and_says_so(tmp_path: Path, talks: list[Pcm], copies: int) -> None:
    kit = Kit(tmp_path)
    data = recorded(*talks[:1] * copies)
    split, mixed = kit.submit(data, channels="split"), kit.submit(data)
    assert (kit.run(), kit.run()) == ("completed", "completed")
    one, other = kit.result(split), kit.result(mixed)
    assert one["segments"] == other["segments"] and "channel" not in one["segments"][0]
    same = ("text", "gaps", "duration", "language", "speakers")
    assert [one[name] for name in same] == [other[name] for name in same]
    assert one["provenance"]["coverage"] == other["provenance"]["coverage"]
    assert [w["code"] for w in kit.job(split).warnings] == ["not_split"] and not kit.job(mixed).warnings
    assert len(kit.calls) == 2 * len(kit.chunks(mixed)) + 2, "a copy was heard too"


def test_a_silent_channel_costs_nothing_and_what_is_the_same_is_heard_once(
    tmp_path: Path, talks: list[Pcm], alone: list[dict[str, Any]]
) -> None:
    """As of a cinema, 5.1: left, right, centre, deep, and behind; the second begins as a copy of the first."""
    intro = 8 * SAMPLE_RATE
    right = talks[1].copy()
    right[:intro] = talks[0][:intro]
    kit = Kit(tmp_path)
    silent = np.zeros_like(right)
    job = kit.submit(recorded(talks[0], right, silent, silent, talks[2], silent), channels="split")
    assert kit.run() == "completed"
    for channel, one in ((0, alone[0]), (4, alone[2])):
        assert segments(kit, job, channel) == one["segments"]
    assert min(one["start"] for one in segments(kit, job, 1)) >= 8
    assert not any(segments(kit, job, channel) for channel in (2, 3, 5)) and not kit.job(job).warnings
    heard = [chunk for chunk in kit.chunks(job) if (chunk.plan or {})["regions"]]
    assert len(kit.calls) - 1 == len(heard) < len(kit.chunks(job))


def test_who_speaks_is_found_out_in_each_channel(tmp_path: Path) -> None:
    """Two tones take turns in one channel, a third is alone in the other."""
    t = np.arange(40 * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(1).normal(0, 20, (3, len(t)))
    low, high, other = (
        3000 * np.sin(2 * np.pi * hertz * t) + rough for hertz, rough in zip((200, 900, 1500), noise, strict=True)
    )
    left = np.where(t % 20 < 10, low, high).astype(np.int16)
    kit = Kit(tmp_path, chunk_strategy="fixed")
    kit.parts = replace(kit.parts, diarizer=TurnsDiarizer(lambda call, quiet: ScriptedNetworks(), width=2))
    one = kit.submit(recorded(left, other.astype(np.int16)), channels="split", diarize=True)
    two = kit.submit(recorded(low.astype(np.int16), other.astype(np.int16)), channels="split", diarize=True)
    assert (kit.run(), kit.run()) == ("completed", "completed")

    def voices(job: Job) -> set[tuple[int | None, str | None]]:
        found: Transcript = from_result(kit.result(job))
        assert [speaker.id for speaker in found.speakers or ()] == sorted({s.speaker or "" for s in found.segments})
        return {(segment.channel, segment.speaker) for segment in found.segments}

    assert len(voices(one)) == 3 and [channel for channel, _ in voices(one)].count(0) == 2
    assert voices(two) == {(0, "SPEAKER_00"), (1, "SPEAKER_01")}, "one voice alone in each is one of two"


def test_words_are_laid_on_the_speech_of_their_channel(tmp_path: Path, talks: list[Pcm]) -> None:
    kit = Kit(tmp_path)
    both = kit.submit(recorded(*talks[:2]), channels="split", align=True, language="en")
    ones = [kit.submit(recorded(talk), align=True, language="en") for talk in talks[:2]]
    assert [kit.run() for _ in range(3)] == ["completed"] * 3
    assert [segments(kit, both, channel) for channel in range(2)] == [segments(kit, one) for one in ones]
    places = [(one["start"], one["channel"]) for one in kit.result(both)["segments"]]
    assert places == sorted(places)
