"""Every benchmark runs (at toy size) and reports its figures; what they conclude from measurements is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks import beside, ct2, ct2_peer, ct2_setup, meter, page
from benchmarks.__main__ import NAMES, main, run
from benchmarks.harness import Bench, CannotRun, Scale
from benchmarks.live.client import Played
from benchmarks.live.kills import QUICK
from benchmarks.live.load import Load
from benchmarks.live.service import MOST, live_service
from benchmarks.parity import at_cuts
from benchmarks.plot import Plot
from benchmarks.report import Figure, Result
from core.audio.samples import SAMPLE_RATE, Region
from core.live.events import Final, Partial, SpeechEnd, SpeechStart
from core.speech.chunks import Chunk
from scripts.performance_test import Model, Row, fit, forecast, reliable
from testbed.faults.waiting import wait_for
from tests.skipping import skip_on_a_laptop

GOALS = {
    "build": set(),
    "engine": {"P2"},
    "sharing": set(),
    "accuracy": set(),
    "parity": {"parity"},
    "job": {"P1"},
    "peers": {"P5", "P6"},
    "memory": set(),
    "latency": {"P3", "P16"},
    "first_chunk": {"P14"},
    "vad": {"P15"},
    "longfile": {"P8"},
    "growth": set(),
    "upload": {"P9"},
    "reads": {"P10"},
    "follow": {"P18"},
    "queue": {"P11"},
    "search": {"P19"},
    "browser": {"W1", "W2"},
    "fairness": {"fairness"},
    "speakers": {"S1", "S2", "S4", "S5"},
    "beside": {"S6"},
    "enhance": {"E1"},
    "known": set(),
    "align": {"A1", "A2"},
    "speaker_words": {"S7"},
    "live.accuracy": {"L5"},
}
LIVE = {
    "live.latency": {"L1", "L2"},
    "live.capacity": {"L3"},
    "live.overlap": {"L4"},
    "live.memory": {"L6"},
    "live.beside": {"L7"},
    "live.kills": {"L8"},
}
"""Those that can share one service; the last one kills it."""


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """One service for all that can share one; those of streams come last, for the last of them kills it."""
    env = {"MAX_LIVE_STREAMS": str(MOST), "ENCODER_CONTEXT": "fit", **QUICK}
    with live_service(Bench("live", Scale.SMOKE, tmp_path_factory.mktemp("live")), **env) as live:
        yield live


# "ct2" fetches its peer from a package index: it is run by hand, its parts are tested below
@pytest.mark.parametrize("name", sorted(GOALS))
def test_every_benchmark_reports_its_figures(name, live, tmp_path):
    try:
        result = run(name, Scale.SMOKE, given=live)
    except CannotRun as error:
        skip_on_a_laptop(str(error))
    values = _reported(result, GOALS[name], tmp_path)
    if name == "align":
        assert values["demo: same text with align"] == 1.0
        assert values["demo, joins, align: starts within 120 ms"] >= 90
        assert values["demo, joins, align: ends within 120 ms"] >= 90
    if name == "parity":
        assert values["with pauses: WER, parallel less serial"] <= 0.2
        assert values["with pauses: words lost at cuts"] == values["with pauses: words doubled at cuts"] == 0
        assert values["with pauses: cuts"] >= 2
        assert values["cut through speech: WER, parallel less serial"] <= 0.2
        assert values["cut through speech: cuts"] >= 2


def _reported(result: Result, goals: set[str], folder: Path) -> dict[str, float]:
    """Figures by their names, as they were written."""
    result.write(folder)
    found = json.loads((folder / f"{result.name}.json").read_text())
    assert found["benchmark"] == result.name and found["machine"]["cores"] >= 1
    assert {figure["goal"] for figure in found["figures"]} - {""} == goals
    assert found["figures"] and all(figure["value"] == figure["value"] for figure in found["figures"])
    for plot in folder.glob("*.svg"):
        ET.parse(plot)
    return {figure["name"]: figure["value"] for figure in found["figures"]}


def test_benchmarks_of_streams_report_their_figures(live, tmp_path):
    values = {
        name: _reported(run(name, Scale.SMOKE, given=live), goals, tmp_path / "out") for name, goals in LIVE.items()
    }
    assert values["live.latency"]["ends of speech that were looked at"] >= 1
    assert values["live.overlap"]["end of speech to text, one after another, median"] > 0
    assert values["live.memory"]["after the first hour"] > 10
    assert values["live.beside"]["jobs: audio per second, beside streams"] > 0
    killed = values["live.kills"]
    assert killed["kills"] == 2 and killed["finals"] > 0
    assert killed["samples lost"] == killed["finals twice"] == killed["finals missing"] == killed["words lost"] == 0


def test_a_soak_of_streams_finds_nothing_broken(capfd):
    assert main(["soak", "--live", "--demo", "--seconds", "4", "--streams", "2", "--seed", "1"]) == 0
    said = capfd.readouterr().out
    assert "broken    0" in said and "streams   2, 0 left" in said


def test_all_benchmarks_are_known_here():
    assert {*GOALS, *LIVE, "ct2"} == set(NAMES)


def test_the_command_names_its_benchmarks_and_stops_at_an_unknown_one():
    done = subprocess.run([sys.executable, "-m", "benchmarks", "nonesuch"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "peers" in done.stderr


def test_goals_are_met_at_the_bound_and_missed_beyond():
    assert Figure(name="a", value=1.0, at_most=1.0).met and Figure(name="a", value=1.0, at_least=1.0).met
    assert Figure(name="a", value=1.01, at_most=1.0).met is False
    assert Figure(name="a", value=1.01, at_most=1.0, judged=False).met is None


def test_a_span_counts_the_cpu_of_ended_children():
    with meter.span() as taken:
        subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert 0.28 <= taken.own <= 2.0  # the servers of other tests are children too
    assert taken.wall >= 0.28


@pytest.mark.parametrize(
    ("width", "foreign", "alone"),
    [(meter.CORES, 0.0, 10.0), (meter.CORES, 4.0 * meter.CORES, 6.0), (1, 10.0 * (meter.CORES - 1) + 3.0, 7.0)],
)
def test_what_others_took_is_set_off(width, foreign, alone):
    assert meter.Span(wall=10.0, foreign=foreign, width=width).alone == pytest.approx(alone)


def test_pss_sees_memory_that_is_used():
    with meter.PssSampler(lambda: [os.getpid()], every=0.01) as sampler:
        before = meter.pss([os.getpid()])
        block = bytearray(b"\1") * (64 << 20)
        seen = len(sampler.samples)
        wait_for(lambda: len(sampler.samples) >= seen + 2)  # of these one began when the block was there
        del block
    assert 60 <= sampler.peak - before <= 80


def test_a_word_lost_or_doubled_counts_only_at_a_cut():
    said = ["Anna sells four red horses.", "Peter buys five apples."]
    truth = {"utterances": [{"start": 0.0, "end": 2.0, "text": said[0]}, {"start": 10.0, "end": 12.0, "text": said[1]}]}
    serial = " ".join(said)

    def counts(first: str, second: str, cut: float) -> tuple[int, int, int]:
        segments = [{"start": 0.0, "end": 2.0, "text": first}, {"start": 10.0, "end": 12.0, "text": second}]
        edges = [(0, round(cut * 16_000)), (round(cut * 16_000), 20 * 16_000)]
        found = at_cuts(
            truth,
            segments,
            serial,
            [Chunk(index=n, start=a, end=b, regions=(Region(start=a, end=b),)) for n, (a, b) in enumerate(edges)],
        )
        return found["lost"], found["lost_elsewhere"], found["doubled"]

    assert counts(*said, 11.0) == (0, 0, 0)
    assert counts(said[0], "Peter five apples.", 11.0) == (1, 0, 0)
    assert counts(said[0], "Peter five apples.", 5.0) == (0, 1, 0)
    assert counts(said[0], "Peter buys buys five apples.", 11.0) == (0, 0, 1)
    assert counts("Anna sells sells four red horses.", said[1], 11.0) == (0, 0, 0)


def _stream(seconds: int, lateness: Callable[[float], float]) -> Played:
    """Each third of three seconds somebody speaks for two; partials come a quarter second after what they have heard."""
    played = Played(began=100.0, ended=100.5 + seconds)
    played.sent = [(n * SAMPLE_RATE // 10, 100 + n / 10) for n in range(1, 10 * seconds + 1)]
    for n, t in enumerate(range(0, seconds, 3)):
        told = {"utterance": n, "start": float(t)}
        played.events += [
            (100.3 + t, SpeechStart(t=t, utterance=n)),
            (101.25 + t, Partial(**told, revision=1, committed="", tail="a", end=t + 1.0)),
            (102.4 + t, SpeechEnd(t=t + 2.0, utterance=n)),
            (102.0 + t + lateness(t), Final(**told, end=t + 2.0, text="a", words=[], language="en")),
        ]
    return played


def test_how_late_a_stream_is_counts_from_its_samples_and_its_true_ends():
    played = _stream(9, lambda t: 0.6)
    shown = played.shown()
    assert len(shown) == 300 and max(shown) == pytest.approx(1.5, abs=0.03), "the final's: 2.6 s of what came at 1.1 s"
    assert min(shown) == pytest.approx(0.25, abs=0.03)
    assert played.partly() == pytest.approx([0.25] * 3)
    assert played.late_after((1.9, 5.2)) == pytest.approx([0.7, 0.4])
    assert [late for _, late in played.late()] == pytest.approx([0.6] * 3)


@pytest.mark.parametrize(
    ("lateness", "why"),
    [(lambda t: 0.5, ""), (lambda t: 0.5 + t / 30, "finals came 0.80")],
    ids=["keeps up", "falls behind"],
)
def test_a_service_that_falls_behind_is_found_out(lateness, why):
    load = Load(played=[_stream(60, lateness) for _ in range(2)], failed=[])
    assert load.broken().startswith(why) and bool(load.broken()) == bool(why)
    assert Load(played=load.played, failed=["live_full"]).broken() == "1 of 3 streams failed: live_full"


def test_the_model_finds_serial_part_and_contention_again():
    truth = Model(serial=3.0, chunk=1.5, contention=0.02)
    rows = [
        Row(workers=n, chunks=23, files=[truth.wall(n, 23)], engine=[1 + 0.02 * (n - 1)], cpu=[100.0])
        for n in (1, 2, 4)
    ]
    found = fit(rows, cores=4)
    assert (found.serial, found.chunk, found.contention) == pytest.approx((3.0, 1.5, 0.02))
    assert fit(rows, cores=2).wall(4, 23) == pytest.approx(truth.wall(4, 23))
    assert Model(serial=0.0, chunk=1.0, contention=0.0).speed_up(8) == pytest.approx(
        60 / 8
    )  # 8 rounds, the last half full


def test_a_model_fitted_on_a_busy_machine_is_called_unreliable():
    idle, busy = Row(workers=1, disturbance=0.02), Row(workers=2, disturbance=0.3)
    assert reliable([idle]) and not reliable([idle, busy])
    model = Model(serial=1.0, chunk=1.0, contention=0.0)
    assert "UNRELIABLE" in forecast(model, trusted=False) and "UNRELIABLE" not in forecast(model)


def test_a_plot_is_well_formed_and_escapes_its_labels():
    plot = Plot(name="p", title="a < b & c", series={"x": [(0, 1.0), (1, 3.0)]}, labels=("one", "two"))
    assert "a < b & c" in "".join(ET.fromstring(plot.svg()).itertext())


def test_the_peers_features_are_whispers():
    """A tone of 1 kHz for a second: loudest in its own band, as loud in the middle, floor beyond; as of padded samples."""
    filters = np.zeros((2, 201), np.float32)
    filters[0, 25] = filters[1, 100] = 1.0  # a bin has 40 Hz
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)).astype(np.int16)
    features = ct2_peer.log_mel(tone, filters)
    assert features.shape == (2, 3000) and features.dtype == np.float32
    loudest = (np.log10((8000 / 32768 * 100) ** 2) + 4) / 4  # half the window's sum times the amplitude
    assert features[0, 50] == pytest.approx(loudest, abs=0.01)
    assert features[:, 102:] == pytest.approx(loudest - 2.0, abs=0.01) and features[1, 50] == pytest.approx(
        loudest - 2.0, abs=0.01
    )
    padded = np.concatenate([tone, np.zeros(29 * 16_000, np.int16)])
    assert np.allclose(features, ct2_peer.log_mel(padded, filters), atol=1e-5)


@pytest.mark.parametrize(
    ("count", "size", "workers", "sizes"),
    [(22, 16, 2, [11, 11]), (22, 8, 1, [8, 7, 7]), (5, 1, 2, [1] * 5), (3, 16, 2, [2, 1]), (1, 4, 2, [1])],
)
def test_the_peer_gets_even_batches_for_all_of_its_workers(count, size, workers, sizes):
    windows = [(n, n + 1) for n in range(count)]
    found = ct2_peer.batches(windows, size, workers)
    assert [len(batch) for batch in found] == sizes and sum(found, []) == windows


def test_a_peer_that_cannot_be_fetched_is_said_so_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(CannotRun, match="ctranslate2.* could not be installed"):
        ct2_setup.interpreter(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_two_texts_differ_by_their_words():
    assert ct2.different("One two, three four.", "one two three four") == 0
    assert ct2.different("one two three four", "one too three four five") == 0.5


def test_the_page_has_all_figures_verdicts_and_plots_and_no_old_ones(tmp_path):
    out, docs = tmp_path / "out", tmp_path / "docs"
    (docs / "explanation/plots").mkdir(parents=True)
    (docs / "reference").mkdir()
    (docs / "explanation/plots/peers-old.svg").write_text("old")
    Result(
        name="vad",
        scale="full",
        disturbance=0.2,
        figures=[Figure(name="CPU | hour", value=10.04, unit="s", goal="P15", at_most=9.0)],
    ).write(out)
    Result(
        name="job",
        scale="bench",
        plots=[Plot(name="wall", title="t", series={"x": [(0, 1.0)]}, labels=("one",))],
        figures=[
            Figure(name="overhead", value=1.02, goal="P1", at_most=1.03),
            Figure(name="toy", value=9, goal="P1", at_most=1, judged=False),
            Figure(name="bytes", value=12345.6),
        ],
    ).write(out)
    (out / "other.json").write_text('{"rows": []}')
    assert page.main([str(out), "--docs", str(docs)]) == 0
    text = (docs / "reference/benchmarks.md").read_text()
    assert "| P1 | job | overhead | ≤ 1.03 | 1.02 | met | bench | 0% |" in text
    assert "| P15 | vad | CPU \\| hour | ≤ 9 | 10 s | **missed** | full | 20% |" in text
    assert "| toy | 9 | P1 ≤ 1 | not judged |" in text and "| bytes | 12,346 |  |  |" in text
    assert text.index("### job") < text.index("### vad") and "20% of the cores" in text
    assert "(../explanation/plots/job-wall.svg)" in text
    assert [path.name for path in (docs / "explanation/plots").iterdir()] == ["job-wall.svg"]


def test_the_page_is_not_made_of_nothing(tmp_path, capsys):
    assert page.main([str(tmp_path), "--docs", str(tmp_path)]) == 1
    assert "no results" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_what_two_stages_take_of_some_cores_is_reckoned():
    assert beside.forecast(60.0, 10.0, 2, 2) == (35.0, 35.0), "on full cores it is scheduling, not a gain"
    assert beside.forecast(60.0, 10.0, 2, 1) == (65.0, 60.0)
    in_turn, at_once = beside.forecast(10.0, 60.0, 4, 2)
    assert (in_turn, at_once) == (20.0, 17.5), "what is left has all cores"
