"""What people read: times, sizes, transcripts and tables. Values in, text out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any, TextIO


def clock(seconds: float) -> str:
    """`03:07.5`, from one hour on `1:02:05.5`. Tenths, rounded."""
    tenths = round(max(0.0, seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{minutes:02}:{rest // 10:02}.{rest % 10}"
    return f"{hours}:{tail}" if hours else tail


def timed_lines(result: dict[str, Any]) -> str:
    """A transcript for the eye: `[00:00.0 -> 00:03.2] text`, one segment a line; where there are speakers, `Anna: text`."""
    names = {speaker["id"]: f"{' '.join(speaker['name'].split())}: " for speaker in result.get("speakers") or ()}
    return "".join(
        f"[{clock(s['start'])} -> {clock(s['end'])}] {names.get(s.get('speaker'), '')}{s['text'].strip()}\n"
        for s in result["segments"]
    )


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(count: float) -> str:
    """Bytes as `512 B`, `3.4 MB` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.95:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def to_json(value: object, out: TextIO | None = None) -> str:
    """JSON as every `--json` prints it. What is no Unicode in a file's name comes as an escape, which Python reads back.

    out: where it goes, if that may not take every character
    """
    narrow = out is not None and not (out.encoding or "").lower().startswith("utf")
    return json.dumps(value, indent=2, ensure_ascii=narrow).encode(errors="backslashreplace").decode()


def printable(path: PurePath | str) -> str:
    """A path as text that every stream takes and no terminal obeys: a name from disk need not be valid Unicode, nor one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(path))


def outcome(job: dict[str, Any]) -> str:
    """How an ended job ended, in a few words."""
    if job["status"] == "failed":
        error = job["error"] or {}
        return f"failed: {error.get('message', 'no reason given')} ({error.get('code', 'internal')})"
    if job["status"] != "completed":
        return str(job["status"])
    words = "completed"
    performance = job.get("performance") or {}
    heard = (job.get("audio") or {}).get("duration")
    if performance.get("wall") and heard:
        words = f"{duration(heard)} transcribed in {duration(performance['wall'])}"
    if job.get("partial"):
        gaps = ", ".join(f"{clock(gap['start'])} -> {clock(gap['end'])} {gap['reason']}" for gap in job["gaps"])
        words += f"; PARTIAL, without text: {gaps or 'see gaps'}"
    for warning in job.get("warnings", ()):
        words += f"; {warning['message']}"
    return words


def job_line(job: dict[str, Any]) -> tuple[str, ...]:
    """One row of `parascribe list`."""
    progress = job["progress"]
    state = job["status"] + (" (partial)" if job["partial"] else "")
    length = (job.get("audio") or {}).get("duration")
    return (
        job["id"],
        state,
        f"{progress['percent']:.0f} %",
        duration(length) if length else "-",
        str(job["params"].get("model") or "-"),
        str(job["created_at"])[:19].replace("T", " "),
        job["source"]["filename"],
    )


JOB_COLUMNS = ("ID", "STATUS", "DONE", "AUDIO", "MODEL", "CREATED (UTC)", "FILE")


def job_text(job: dict[str, Any]) -> str:
    """One job in full, for `parascribe status`."""
    progress, language = job["progress"], job.get("language")
    rows = [("id", job["id"]), ("file", job["source"]["filename"]), ("status", job["status"])]
    if job["status"] in ("completed", "failed"):
        rows.append(("outcome", outcome(job)))
    elif job["status"] != "cancelled":
        left = f", about {duration(progress['eta_seconds'])} left" if progress.get("eta_seconds") else ""
        own = progress.get("stage_percent")
        stage = progress["stage"] if own is None else f"{progress['stage']} ({own:.0f} %)"
        rows.append(("progress", f"{progress['percent']:.0f} %, {stage}{left}"))
        rows.append(("chunks", f"{progress['chunks_done']} of {progress['chunks_total'] or 'not yet known'}"))
    rows += [("model", str(job["params"].get("model"))), ("task", str(job["params"].get("task")))]
    if language:
        sure = language.get("confidence")
        rows.append(("language", language["code"] if sure is None else f"{language['code']} ({100 * sure:.0f} %)"))
    rows += [
        (key.removesuffix("_at"), str(job[key])) for key in ("created_at", "started_at", "finished_at") if job.get(key)
    ]
    if job.get("retry_of"):
        rows.append(("retry of", job["retry_of"]))
    return "".join(f"{name + ':':<10} {value}\n" for name, value in rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, file: TextIO | None = None) -> None:
    """A table on a terminal; tab-separated lines with no heading in a pipe, where programs read."""
    out = file or sys.stdout
    if not out.isatty():
        out.writelines("\t".join(row) + "\n" for row in rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console(file=out).print(shown)


_STYLES = {
    "ok": "green",
    "warn": "yellow",
    "fail": "bold red",
    "completed": "green",
    "completed (partial)": "yellow",
    "failed": "bold red",
    "cancelled": "dim",
    "processing": "cyan",
    "here": "green",
    "broken": "bold red",
}
