"""From samples to turns: the steps, each by itself, and all of them with the real networks and with scripted ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.timeline import Timeline
from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import Cancelled, ChunkFailed, ModelInvalid
from testbed import audio_bank
from testbed.verdicts import engine_dir
from whisper import SPEAKER_MODELS
from whisper.engine.host_client import HostClient
from whisper.engine.host_diarizer import HostNetworks, TurnsDiarizer
from whisper.engine.manager_process import start_manager
from whisper.speakers import linkage
from whisper.speakers.features import log_mel
from whisper.speakers.frames import FIELD, HOP, STEP, WINDOW, runs, seconds_of, window_starts
from whisper.speakers.known import MATCH, matches
from whisper.speakers.linkage import tree_of
from whisper.speakers.networks import OnnxNetworks
from whisper.speakers.pieces import speech_of
from whisper.speakers.pipeline import Networks, TurnPipeline
from whisper.speakers.scripted import ScriptedNetworks
from whisper.speakers.voices import SpeakerBounds, unit, voices_of
from whisper.types import Call


class Whole:
    """A recording that is there."""

    def __init__(self, pcm: Pcm) -> None:
        self.pcm = pcm

    def length(self, at_least: int) -> int:
        return len(self.pcm)

    def read(self, start: int, end: int) -> Pcm:
        assert 0 <= start < end <= len(self.pcm), "nothing that is not there is asked for"
        return self.pcm[start:end]


class Growing(Whole):
    """One that is decoded by the second."""

    def __init__(self, pcm: Pcm) -> None:
        super().__init__(pcm)
        self.there = 0

    def length(self, at_least: int) -> int:
        while self.there < min(at_least, len(self.pcm)):
            self.there = min(len(self.pcm), self.there + SAMPLE_RATE)
        return self.there

    def read(self, start: int, end: int) -> Pcm:
        assert end <= self.there
        return super().read(start, end)


def tone(hertz: float, seconds: float) -> Pcm:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (3000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


def hush(seconds: float) -> Pcm:
    return np.zeros(round(seconds * SAMPLE_RATE), np.int16)


def talk(*parts: tuple[float, float]) -> Pcm:
    """(hertz or 0, seconds) one after the other, a pause of half a second between."""
    return np.concatenate(
        [x for hertz, seconds in parts for x in (tone(hertz, seconds) if hertz else hush(seconds), hush(0.5))]
    )


# --- frames
@given(st.integers(0, 30 * WINDOW))
def test_each_moment_is_in_a_window(samples: int) -> None:
    starts = window_starts(samples)
    if samples < FIELD:
        assert starts == []
        return
    ends = [min(start * HOP + WINDOW, samples) for start in starts]
    assert starts[0] == 0 and samples - ends[-1] < HOP
    assert all(b - a <= STEP for a, b in zip(starts, starts[1:], strict=False))
    assert all(start * HOP + WINDOW <= samples for start in starts) or len(starts) == 1


def test_runs() -> None:
    assert runs(np.array([1, 1, 0, 1], bool)) == [(0, 2), (3, 4)] and runs(np.zeros(3, bool)) == []


def test_features_have_a_frame_each_ten_milliseconds_and_no_mean() -> None:
    features = log_mel(tone(440, 1.0).astype(np.float32) / 32768)
    assert features.shape == (98, 80) and abs(features.mean(axis=0)).max() < 1e-4
    assert log_mel(np.zeros(10, np.float32)).shape == (1, 80)


# --- linkage
def naive(vectors: NDArray[np.float64], distance: float) -> set[frozenset[int]]:
    clusters = [frozenset([n]) for n in range(len(vectors))]
    while len(clusters) > 1:
        pairs = [
            (np.mean([1 - vectors[i] @ vectors[j] for i in a for j in b]), n, m)
            for n, a in enumerate(clusters)
            for m, b in enumerate(clusters[:n])
        ]
        nearest, n, m = min(pairs)
        if nearest > distance:
            break
        clusters = [c for k, c in enumerate(clusters) if k not in (n, m)] + [clusters[n] | clusters[m]]
    return set(clusters)


def as_sets(labels: NDArray[np.intp]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == one).tolist()) for one in set(labels.tolist())}


@settings(max_examples=30)
@given(st.integers(1, 14), st.integers(0, 10_000), st.floats(0.1, 1.2))
def test_average_linkage_is_exact(count: int, seed: int, distance: float) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(count, 5)))
    tree = tree_of(vectors)
    assert as_sets(tree.below(distance)) == naive(vectors, distance)
    for clusters in range(1, count + 1):
        assert len(as_sets(tree.into(clusters))) == clusters
    assert tree.into(count + 5).max() == count - 1


def people(count: int, each: int, *, noise: float, seed: int = 1) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(rng.normal(size=(count, 192))), each, axis=0)
    return (centres + noise / np.sqrt(192) * rng.normal(size=centres.shape)).astype(np.float32)


def test_many_vectors_are_joined_in_blocks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(people(4, 60, noise=0.4)[np.random.default_rng(2).permutation(240)])
    whole = as_sets(tree_of(vectors).below(0.63))
    monkeypatch.setattr(linkage, "BLOCK", 50)
    tree = tree_of(vectors)
    assert tree.leaves < 60 and as_sets(tree.below(0.63)) == whole and len(whole) == 4


# --- voices
def count(vectors: NDArray[np.float32], bounds: SpeakerBounds = SpeakerBounds(), *, seconds: float = 2.0) -> int:
    return len(voices_of(vectors, np.full(len(vectors), seconds), seconds * len(vectors), bounds))


def test_people_are_counted() -> None:
    assert [count(people(n, 8, noise=0.5)) for n in (1, 2, 3, 6)] == [1, 2, 3, 6]


def test_hints_are_followed_as_far_as_somebody_speaks() -> None:
    six = people(6, 8, noise=0.5)
    assert count(six, SpeakerBounds(exact=6)) == 6 and count(six, SpeakerBounds(most=3)) == 3
    assert count(people(2, 8, noise=0.5), SpeakerBounds(least=3)) == 3
    assert count(people(1, 2, noise=0.1), SpeakerBounds(exact=9), seconds=0.6) == 1, "nobody has a second of their own"
    assert 1 <= count(people(1, 1, noise=0.1), SpeakerBounds(exact=20)) <= 20


def test_twins_become_one() -> None:
    vectors = np.concatenate([people(1, 8, noise=0.5), people(1, 8, noise=0.5)])
    assert count(vectors) == 1


# --- pieces
def test_pieces_end_where_speakers_change() -> None:
    classes = np.zeros(589, np.uint8)
    classes[100:200], classes[200:300], classes[300:330], classes[400:405] = 1, 2, 5, 1
    speech = speech_of([0], [classes])
    assert [(p.start, p.end, p.speakers) for p in speech.pieces] == [
        (100, 200, 1),
        (200, 300, 1),
        (300, 330, 2),
        (400, 405, 1),
    ]
    assert [p.heard for p in speech.pieces] == [True, True, False, False]


def test_long_pieces_are_cut_into_equal_parts() -> None:
    speech = speech_of([0], [np.ones(589, np.uint8)])
    assert len(speech.pieces) == 4 and {round(p.seconds, 1) for p in speech.pieces} == {2.5}
    assert (speech.pieces[0].start, speech.pieces[-1].end) == (0, 589)


# --- both pairs of networks
@pytest.fixture(scope="module")
def onnx() -> OnnxNetworks:
    return OnnxNetworks(*SPEAKER_MODELS)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostClient]:
    folder = tmp_path_factory.mktemp("engine")
    manager = start_manager(folder / "m.sock", workers=2, engine_dir=engine_dir())
    client = HostClient(folder / "m.sock")
    yield client
    client.close()
    manager.terminate()
    manager.wait(10)


@pytest.fixture(params=["onnx", "scripted", "hosted", "hosted, quiet"])
def networks(request: pytest.FixtureRequest, onnx: OnnxNetworks) -> Networks:
    if request.param.startswith("hosted"):
        client: HostClient = request.getfixturevalue("hosted")
        return HostNetworks(client, SPEAKER_MODELS, Call(), lambda: request.param.endswith("quiet"))
    return onnx if request.param == "onnx" else ScriptedNetworks()


def test_a_window_has_a_class_for_each_frame(networks: Networks) -> None:
    for samples, frames in ((FIELD, 1), (FIELD + HOP, 2), (WINDOW, 589)):
        classes = networks.classes(tone(300, 10)[:samples])
        assert classes.shape == (frames,) and classes.dtype == np.uint8 and classes.max() <= 6


def test_a_voice_is_a_vector_that_is_nearer_to_itself(onnx: OnnxNetworks) -> None:
    her, him = (bank_voice(speaker) for speaker in ("espeak-de+Annie", "espeak-de+m2"))
    for networks, one, again, other in (
        (ScriptedNetworks(), tone(200, 2), tone(200, 1.5), tone(900, 2)),
        (onnx, her[0], her[1], him[0]),
    ):
        first, second, third = (unit(networks.voice(pcm)) for pcm in (one, again, other))
        assert first.shape == (192,) and first @ second > first @ third + 0.2


def test_a_host_gives_what_the_networks_give(hosted: HostClient, onnx: OnnxNetworks) -> None:
    pcm, _ = audio_bank.speech(minutes=0.4, seed=3)
    direct = TurnPipeline(onnx).diarize(Whole(pcm))
    diarizer = TurnsDiarizer(partial(HostNetworks, hosted, SPEAKER_MODELS), width=2)
    found = diarizer.diarize(Growing(pcm), SpeakerBounds(), Call(job="j", label="speakers"), quiet=lambda: True)
    assert found.turns == direct.turns != () and (found.voices == direct.voices).all()


def test_a_host_refuses_what_is_no_window(hosted: HostClient) -> None:
    networks = HostNetworks(hosted, SPEAKER_MODELS, Call(), lambda: False)
    with pytest.raises(ChunkFailed, match="991 to 160000"):
        networks.classes(np.zeros(100, np.int16))
    with pytest.raises(ChunkFailed):
        networks.voice(np.zeros(11 * SAMPLE_RATE, np.int16))
    assert networks.classes(np.zeros(FIELD, np.int16)).shape == (1,), "its process is the same and serves on"


def test_a_cancelled_call_ends_a_diarization(hosted: HostClient) -> None:
    class Endless(Whole):
        def length(self, at_least: int) -> int:
            return at_least

        def read(self, start: int, end: int) -> Pcm:
            if start > 100 * WINDOW:
                cancel.set()
            return self.pcm[: end - start]

    cancel = threading.Event()
    diarizer = TurnsDiarizer(lambda call, quiet: ScriptedNetworks(), width=2)
    with pytest.raises(Cancelled):
        diarizer.diarize(Endless(tone(300, 11)), SpeakerBounds(), Call(cancel=cancel), quiet=lambda: False)


def bank_voice(speaker: str) -> list[Pcm]:
    pcm, items = audio_bank._bank()
    return [pcm[item["start"] : item["end"]] for item in items if item["speaker"] == speaker]


@pytest.mark.parametrize("samples", [0, 1, 400, 990, 991, 5000, SAMPLE_RATE])
@pytest.mark.parametrize("bounds", [SpeakerBounds(), SpeakerBounds(exact=9)])
def test_short_and_silent_recordings_have_no_turns(networks: Networks, samples: int, bounds: SpeakerBounds) -> None:
    assert TurnPipeline(networks).diarize(Whole(np.zeros(samples, np.int16)), bounds).turns == ()


def test_noise_and_full_scale_are_no_error(networks: Networks) -> None:
    rng = np.random.default_rng(1)
    for pcm in (rng.integers(-32768, 32767, 12 * SAMPLE_RATE).astype(np.int16), np.full(SAMPLE_RATE, -32768, np.int16)):
        found = TurnPipeline(networks).diarize(Whole(pcm), SpeakerBounds(exact=9))
        assert all(0 <= turn.start < turn.end <= len(pcm) / SAMPLE_RATE for turn in found.turns)


CONVERSATION = talk((200, 4), (700, 5), (200, 3), (0, 6), (1500, 4), (700, 2), (200, 7))


def test_each_tone_is_a_voice() -> None:
    shares: list[float] = []
    found = TurnPipeline(ScriptedNetworks()).diarize(Whole(CONVERSATION), tell=shares.append)
    assert len(found.voices) == 3 and shares == sorted(shares)
    first = list(dict.fromkeys(turn.voice for turn in found.turns))
    assert [first.index(turn.voice) for turn in found.turns] == [0, 1, 0, 2, 1, 0]
    ends = np.cumsum([4, 0.5, 5, 0.5, 3, 7, 4, 0.5, 2, 0.5, 7])
    edges = [edge for turn in found.turns for edge in (turn.start, turn.end)]
    wanted = [0, *ends]
    assert max(abs(a - b) for a, b in zip(edges, wanted, strict=True)) < 0.1


def test_what_grows_gives_the_same_as_what_is_there(onnx: OnnxNetworks) -> None:
    pcm = CONVERSATION[: round(23.4 * SAMPLE_RATE)]
    for networks in (ScriptedNetworks(), onnx):
        whole, growing = (TurnPipeline(networks).diarize(audio) for audio in (Whole(pcm), Growing(pcm)))
        assert whole.turns == growing.turns


def test_windows_are_asked_for_as_they_come() -> None:
    audio, asked = Growing(CONVERSATION), []

    class Watched(ScriptedNetworks):
        def classes(self, window: Pcm) -> NDArray[np.uint8]:
            asked.append(audio.there)
            return super().classes(window)

    TurnPipeline(Watched()).diarize(audio)
    assert asked[0] <= WINDOW + SAMPLE_RATE and asked == sorted(asked)


def test_models_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelInvalid, match=r"a\.onnx"):
        OnnxNetworks(tmp_path / "a.onnx", tmp_path / "b.onnx")


def test_more_voices_than_can_be_heard_at_once() -> None:
    def steps() -> Iterator[tuple[float, float]]:
        for n in range(20):
            yield 100 + 180 * n, 3.0

    found = TurnPipeline(ScriptedNetworks()).diarize(Whole(talk(*steps())))
    assert len(found.voices) == 20 and len({turn.voice for turn in found.turns}) == 20
    assert seconds_of(1) < 0.02


def test_hours_of_five_people() -> None:
    hours = Timeline(1.0)
    found = TurnPipeline(hours).diarize(hours)
    assert len(found.voices) == 5 and len(found.turns) > 1000
    assert all(0 <= turn.start < turn.end <= 3600 for turn in found.turns)
    assert 0.8 * 3600 < sum(turn.end - turn.start for turn in found.turns) < 0.95 * 3600


def test_nobody_is_made_up_to_reach_a_number() -> None:
    found = TurnPipeline(ScriptedNetworks()).diarize(Whole(talk((300, 4), (300, 5), (300, 1))), SpeakerBounds(exact=9))
    assert 1 <= len(found.voices) <= 9 and found.turns
    assert all(0 <= turn.start < turn.end <= 11.5 for turn in found.turns)


# --- who is known
def test_each_voice_is_one_person_and_each_person_one_voice() -> None:
    anna, bert, carl = np.eye(3, 192, dtype=np.float32)
    mixed = anna + 0.6 * bert
    found = matches(np.stack([bert, carl, anna, mixed]), ["Anna", "Bert"], np.stack([2 * anna, bert + carl]))
    assert found.names == {2: "Anna", 0: "Bert"}, "the most alike first, and Carl is as much like Bert"
    assert found.again == {1: "Bert", 3: "Anna"}
    assert matches(np.stack([-anna, carl]), ["Anna", "Bert"], np.stack([anna, bert])).names == {}
    assert matches(np.zeros((0, 192), np.float32), ["Anna"], anna[None]).names == {}
    assert matches(np.stack([anna]), [], np.zeros((0, 0), np.float32)).names == {}


def test_a_voice_is_known_by_another_sentence(onnx: OnnxNetworks) -> None:
    (his,), hers = bank_voice("flite-awb"), bank_voice("espeak-de+Annie")
    pipeline = TurnPipeline(onnx)
    parts = [his, hush(0.5), hers[0], hush(0.5), his, hush(0.5), hers[1]]
    found = pipeline.diarize(Whole(np.concatenate(parts)))
    assert len(found.voices) == 2 and found.embedding
    (sample,) = pipeline.diarize(Whole(hers[2])).voices
    alike = found.voices @ sample
    assert alike[0] < MATCH - 0.2 < MATCH + 0.2 < alike[1], "one sentence of three seconds will do"
    assert matches(found.voices, ["Annie"], sample[None]).names == {1: "Annie"}
