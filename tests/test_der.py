"""The error rate of diarization against pyannote.metrics, which counted the pairs in tests/data/der.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.der import error_rate, read_rttm

PAIRS = json.loads((Path(__file__).parent / "data/der.json").read_text("utf-8"))


@pytest.mark.parametrize("pair", PAIRS)
def test_it_counts_what_pyannote_metrics_counts(pair: dict[str, Any]) -> None:
    reference, found = ([tuple(turn) for turn in pair[name]] for name in ("reference", "found"))
    rate = error_rate(reference, found, collar=pair["collar"])
    for name in ("total", "missed", "false", "confused"):
        assert getattr(rate, name) == pytest.approx(pair[name], abs=1e-5), name


def test_nothing_and_the_same() -> None:
    said = [(0.0, 1.0, "a"), (2.0, 3.0, "b")]
    assert error_rate([], []).rate == error_rate([], said).rate == 0.0
    assert error_rate(said, [(start, end, who.upper()) for start, end, who in said]).rate == 0.0
    assert error_rate(said, []).rate == 100.0


def test_rttm(tmp_path: Path) -> None:
    (tmp_path / "a.rttm").write_text(";; a comment\nSPEAKER a 1 1.500 0.250 <NA> <NA> anna <NA> <NA>\n\n")
    assert read_rttm(tmp_path / "a.rttm") == [(1.5, 1.75, "anna")]
