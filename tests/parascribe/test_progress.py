"""Progress where there is little room, and where a terminal can do nothing but print."""

from __future__ import annotations

import io
import re

import pytest

from parascribe.screen.progress import Bars, Lines, reporter

NAME = "recordings/2026/november/a-long-name-of-a-talk.mp3"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [40, 80, 160])
def test_bars_fit_into_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    report = reporter(out=out)
    assert isinstance(report, Bars)
    with report:
        report.expect(21)
        report.bytes(NAME, "uploading", 5, 10)
        for number in range(20):
            report.step(f"{number}.mp3", "queued", 0.0)
        report.end("0.mp3", "", failed=True)
    last = re.split(r"(?:\x1b\[2K(?:\x1b\[1A)?)+", out.getvalue())[-1]
    assert not re.search(r"\x1b\[[0-9;]*m", last), "no colours"
    lines = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", last).split("\n")
    assert all(len(line.rstrip("\r")) <= width for line in lines)
    assert "1 of 21" in lines[0]
    assert "50 %" in lines[1] and "talk.mp3" in lines[1], "of a long name the end"
    assert len(lines) < 16, "what only waits has no row of its own"


def test_a_terminal_that_can_only_print_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(reporter(out=Terminal()), Lines)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(reporter(out=io.StringIO()), Lines)
