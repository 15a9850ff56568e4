"""What the Tab key offers, in a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from parascribe.cli import main

ROOT = Path(__file__).parents[2]
LINES = {
    "parascribe webhooks redel": ["redeliver"],
    "parascribe transcribe talk.mp3 -f v": ["vtt"],
    "parascribe watch . --priority ": ["interactive", "normal", "bulk"],
}


def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    ours = tmp_path / "parascribe"
    ours.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m parascribe "$@"\n')
    ours.chmod(0o755)
    ask = "".join(
        f"COMP_WORDS=({line}{' ' + chr(34) * 2 if line.endswith(' ') else ''}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        f"$(complete -p parascribe | sed 's/.*-F \\([^ ]*\\).*/\\1/') parascribe; echo ${{COMPREPLY[*]}}\n"
        for line in LINES
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", f'eval "$(parascribe completion bash)"\n{ask}'],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split() for line in done.stdout.splitlines()] == list(LINES.values()), done.stderr


@pytest.mark.parametrize(
    ("shell", "begins"), [("zsh", "#compdef parascribe"), ("fish", "complete --command parascribe")]
)
def test_other_shells(shell: str, begins: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out.startswith(begins)
