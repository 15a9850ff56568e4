"""Changes of speaker that no window saw."""

from __future__ import annotations

import numpy as np
import pytest

from tests.whisper.test_speakers import Whole, tone
from whisper.speakers.frames import seconds_of
from whisper.speakers.pieces import Piece
from whisper.speakers.pipeline import TurnPipeline
from whisper.speakers.scripted import ScriptedNetworks
from whisper.speakers.splitting import DOUBTFUL, DOUBTFUL_SECONDS, doubtful, looks, parts_of


def piece(seconds: float, start: int = 1000) -> Piece:
    return Piece(start=start, end=start + round(seconds / seconds_of(1)), speakers=1)


@pytest.mark.parametrize("seconds", [DOUBTFUL_SECONDS + 0.02, 2.0, 4.0])
def test_looks_cover_the_piece_and_overlap(seconds: float) -> None:
    whole = piece(seconds)
    found = looks(whole)
    assert len(found) >= 2 and (found[0].start, found[-1].end) == (whole.start, whole.end)
    assert len({look.end - look.start for look in found}) == 1
    assert all(before.start < after.start < before.end for before, after in zip(found, found[1:], strict=False))


def test_what_sounds_like_two_is_doubtful() -> None:
    assert doubtful(piece(2.0), np.array([0.7, DOUBTFUL + 0.01, 0.1]))
    assert not doubtful(piece(2.0), np.array([0.9, DOUBTFUL - 0.01, 0.1]))
    assert not doubtful(piece(DOUBTFUL_SECONDS - 0.1), np.array([0.7, 0.6])), "too short to be two"
    assert not doubtful(piece(2.0), np.array([0.7])), "there is nobody else"


@pytest.mark.parametrize(
    ("likeness", "shares"),
    [
        ([[0.8, 0.1], [0.8, 0.1], [0.1, 0.8], [0.1, 0.8], [0.1, 0.8]], [0.45, 0.55]),
        ([[0.8, 0.1], [0.7, 0.2], [0.6, 0.4], [0.7, 0.2], [0.8, 0.1]], [1.0]),
        ([[0.8, 0.1], [0.8, 0.1], [0.4, 0.5], [0.8, 0.1], [0.8, 0.1]], [1.0]),  # by chance
        ([[0.8, 0.1], [0.8, 0.1], [0.1, 0.8], [0.8, 0.1], [0.8, 0.1]], [0.415, 0.17, 0.415]),
    ],
)
def test_a_piece_is_cut_where_its_voice_changes(likeness: list[list[float]], shares: list[float]) -> None:
    whole = piece(2.7)
    parts = parts_of(whole, looks(whole), np.array(likeness))
    assert [part.seconds / whole.seconds for part in parts] == pytest.approx(shares, abs=0.05)
    assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)
    assert all(before.end == after.start for before, after in zip(parts, parts[1:], strict=False))


def test_a_change_that_no_window_saw() -> None:
    """The scripted network knows speech and silence only, and these two leave no pause."""
    found = TurnPipeline(ScriptedNetworks()).diarize(Whole(np.concatenate([tone(300, 7), tone(1200, 7)])))
    assert [turn.voice for turn in found.turns] == [found.turns[0].voice, 1 - found.turns[0].voice]
    assert found.turns[0].end == pytest.approx(7.0, abs=0.25) == found.turns[1].start
