"""The reference page of what was heard in each recording, made of the result of the benchmark `accuracy`."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy import OURS


def page(result: dict[str, Any], machine: str) -> str:
    """The page in Markdown. result: what Result.to_dict gives; machine: in words."""
    clips, groups = result["details"]["clips"], result["details"]["errors"]
    models = list(dict.fromkeys(clip["model"] for clip in clips))
    lines = [
        "# Accuracy",
        "",
        "Made by `python -m benchmarks.page` from the results of `python -m benchmarks accuracy`; do not edit. Real recordings, OpenAI's",
        "weights; where they come from: `benchmarks/recordings.py`. WER = (words replaced + lost + invented) ÷ words said, after the",
        "normalisation of Whisper's paper (case, punctuation, numbers, spelling); by character for languages without blanks.",
        "",
        f"The machine: {machine}. Scale `{result['scale']}`.",
        "",
        "## Sets",
        "",
        "`clips`: the recordings below in English, each by itself. `long`: clips in an order of chance, pauses of 0.3 to 1.5 s.",
        "`no pauses`: every pause shortened to 0.06 s, over noise, so that cuts go through speech.",
        "",
        "| model | set | by | WER | words | replaced | lost | invented |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {g['model']} | {g['group']} | {g['way']} | {_rate(g)} | {g['words']} | {g['substitutions']} | {g['deletions']} | {g['insertions']} |"
            for g in groups
        ),
        "",
        f"## Each recording, {OURS}",
        "",
        "In per cent.",
        "",
        "| recording | language | seconds | " + " | ".join(models) + " |",
        "| --- " * (3 + len(models)) + "|",
        *_rows(clips, models),
        "",
    ]
    return "\n".join(lines)


def _rows(clips: list[dict[str, Any]], models: list[str]) -> list[str]:
    mine = {(clip["file"], clip["model"]): clip for clip in clips if clip["way"] == OURS}
    rows = []
    for name, first in {clip["file"]: clip for clip in clips}.items():
        cells = [_rate(mine[name, model]) if (name, model) in mine else "" for model in models]
        rows.append(f"| {name} | {first['language']} | {first['seconds']} | " + " | ".join(cells) + " |")
    return rows


def _rate(found: dict[str, Any]) -> str:
    wrong = found["substitutions"] + found["deletions"] + found["insertions"]
    return f"{100 * wrong / max(1, found['words']):.1f}"
