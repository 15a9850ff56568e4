"""Every benchmark runs (at toy size) and reports its figures; what they conclude from measurements is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from xml.etree import ElementTree as ET

import pytest

from benchmarks import made, meter
from benchmarks.__main__ import NAMES, run
from benchmarks.harness import Scale
from benchmarks.parity import at_cuts
from benchmarks.plot import Plot
from benchmarks.report import Figure
from core.chunks import Chunk
from scripts.performance_test import Model, Row, fit
from tests import audio_bank
from whisper.libraries import candidates
from whisper.measure import measure
from whisper.models import read_header

GOALS = {
    "build": set(), "engine": {"P2"}, "parity": {"parity"}, "job": {"P1"}, "peers": {"P5", "P6"}, "memory": set(),
    "latency": {"P3", "P16"}, "first_chunk": {"P14"}, "vad": {"P15"}, "longfile": {"P8"}, "growth": set(), "upload": {"P9"},
    "reads": {"P10"}, "queue": {"P11"},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_reports_its_figures(name, tmp_path):
    result = run(name, Scale.SMOKE)
    result.write(tmp_path)
    found = json.loads((tmp_path / f"{name}.json").read_text())
    assert found["benchmark"] == name and found["machine"]["cores"] >= 1
    assert {figure["goal"] for figure in found["figures"]} - {""} == GOALS[name]
    assert found["figures"] and all(figure["value"] == figure["value"] for figure in found["figures"])
    for plot in tmp_path.glob("*.svg"):
        ET.parse(plot)
    if name == "parity":
        values = {figure["name"]: figure["value"] for figure in found["figures"]}
        assert values["with pauses: WER, parallel less serial"] <= 0.2
        assert values["with pauses: words lost at cuts"] == values["with pauses: words doubled at cuts"] == 0
        assert values["with pauses: cuts"] >= 2
        assert values["cut through speech: WER, parallel less serial"] <= 0.2
        assert values["cut through speech: cuts"] >= 2


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
    assert 0.28 <= taken.own <= 0.6
    assert taken.wall >= 0.28


@pytest.mark.parametrize(("width", "foreign", "alone"), [(meter.CORES, 0.0, 10.0), (meter.CORES, 4.0 * meter.CORES, 6.0), (1, 10.0 * (meter.CORES - 1) + 3.0, 7.0)])
def test_what_others_took_is_set_off(width, foreign, alone):
    assert meter.Span(wall=10.0, foreign=foreign, width=width).alone == pytest.approx(alone)


def test_pss_sees_memory_that_is_used():
    with meter.PssSampler(lambda: [os.getpid()], every=0.01) as sampler:
        before = meter.pss([os.getpid()])
        block = bytearray(os.urandom(1 << 20) * 64)
        time.sleep(0.05)
        del block
    assert 60 <= sampler.peak - before <= 80


def test_a_quantised_model_is_smaller_and_says_the_same(tmp_path):
    """The demo model is too narrow for K types, so q8_0 stands for all."""
    target = tmp_path / "ggml-small.bin"
    made.quantise(made.DEMO, target, "q8_0")
    assert read_header(target).ftype == 7
    assert target.stat().st_size < 0.65 * made.DEMO.stat().st_size
    pcm, _ = audio_bank.speech(0.25)
    library = candidates(None, None)[-1]
    assert measure(library, target, pcm, passes=1).text == measure(library, made.DEMO, pcm, passes=1).text


def test_a_word_lost_or_doubled_counts_only_at_a_cut():
    said = ["Anna sells four red horses.", "Peter buys five apples."]
    truth = {"utterances": [{"start": 0.0, "end": 2.0, "text": said[0]}, {"start": 10.0, "end": 12.0, "text": said[1]}]}
    serial = " ".join(said)

    def counts(first: str, second: str, cut: float) -> tuple[int, int]:
        segments = [{"start": 0.0, "end": 2.0, "text": first}, {"start": 10.0, "end": 12.0, "text": second}]
        edges = [(0, round(cut * 16_000)), (round(cut * 16_000), 20 * 16_000)]
        return at_cuts(truth, segments, serial, [Chunk(index=n, start=a, end=b, regions=()) for n, (a, b) in enumerate(edges)])

    assert counts(*said, 11.0) == (0, 0)
    assert counts(said[0], "Peter five apples.", 11.0) == (1, 0)
    assert counts(said[0], "Peter five apples.", 5.0) == (0, 0)
    assert counts(said[0], "Peter buys buys five apples.", 11.0) == (0, 1)
    assert counts("Anna sells sells four red horses.", said[1], 11.0) == (0, 0)


def test_the_model_finds_serial_part_and_contention_again():
    truth = Model(serial=3.0, chunk=1.5, contention=0.02)
    rows = [
        Row(workers=n, chunks=23, files=[truth.wall(n, 23)], engine=[1 + 0.02 * (n - 1)], cpu=[100.0]) for n in (1, 2, 4)
    ]
    found = fit(rows, cores=4)
    assert (found.serial, found.chunk, found.contention) == pytest.approx((3.0, 1.5, 0.02))
    assert fit(rows, cores=2).wall(4, 23) == pytest.approx(truth.wall(4, 23))
    assert Model(serial=0.0, chunk=1.0, contention=0.0).speed_up(8) == pytest.approx(60 / 8)  # 8 rounds, the last half full


def test_a_plot_is_well_formed_and_escapes_its_labels():
    plot = Plot(name="p", title="a < b & c", series={"x": [(0, 1.0), (1, 3.0)]}, labels=("one", "two"))
    assert "a < b & c" in "".join(ET.fromstring(plot.svg()).itertext())
