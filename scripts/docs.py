"""Generates the reference pages from the code: `make docs` (`--check` fails when one is out of date)."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core import errors
from core.config.engine import EngineSettings
from core.config.live import LiveSettings
from core.config.loading import load
from core.config.service import ServiceSettings
from core.config.settings import Settings
from core.config.sources import FORGOTTEN, FORMER, file_names
from core.config.translation import TranslationSettings

ROOT = Path(__file__).resolve().parent.parent

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

UNITS = {"seconds": "s", "duration": "s", "timeout": "s", "hours": "h", "mb": "MB"}


def _groups() -> dict[str, list[str]]:
    """Settings by the group comments of core/config."""
    groups: dict[str, list[str]] = {}
    current = ""
    parts = (ServiceSettings, EngineSettings, LiveSettings, TranslationSettings)
    for line in "".join(map(inspect.getsource, parts)).splitlines():
        if found := re.match(r"\s+# --- (.*)", line):
            current = found[1]
        elif (found := re.match(r"    ([a-z_]+): .*= Field\(", line)) and found[1] in Settings.model_fields:
            groups.setdefault(current, []).append(found[1])
    return groups


def _default(name: str) -> str:
    value = Settings.model_fields[name].get_default(call_default_factory=True)
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def env_example() -> str:
    lines = [
        "# Every setting, with its default. Copy to .env and uncomment what you change.",
        "# Durations and sizes may have units: 30s, 5min, 24h, 1GB. An empty value means the default.",
        "# What holds a secret may come out of a file: DATABASE_URL_FILE=/run/secrets/database, for example.",
        "",
    ]
    for group, names in _groups().items():
        lines += [f"# --- {group}", ""]
        for name in names:
            lines += [f"# {Settings.model_fields[name].description}", f"#{name.upper()}={_default(name)}", ""]
    return "\n".join(lines)


def configuration() -> str:
    sources = (
        "Sources, strongest first: environment, `.env`, `parascribe.toml`, the defaults below. Both files are UTF-8; "
        "names may be in any case. `~`, `$NAME` and `${NAME}` in a path are filled in. "
        "An empty variable means its default. Durations and sizes may have units (`30s`, `5min`, `24h`, `1GB`); a bare "
        "number has the unit the name tells. `parascribe config` shows what is in force. A secret can come out of a file "
        f"instead, which {', '.join(f'`{name.upper()}`' for name in sorted(file_names(Settings)))} name."
    )
    lines = ["# Configuration", "", "Made from `core/config` by `make docs`; do not edit.", "", sources, ""]
    for group, names in _groups().items():
        lines += [f"## {group[0].upper()}{group[1:]}", "", "| variable | default | meaning |", "|---|---|---|"]
        for name in names:
            default = f"`{_default(name)}`" if _default(name) else "(empty)"
            lines.append(f"| `{name.upper()}` | {default} | {Settings.model_fields[name].description} |")
        lines.append("")
    lines += ["## Names of older set-ups", "", "Named at start, so that nobody wonders.", ""]
    lines += ["| variable | here |", "|---|---|"]
    lines += [f"| `{old.upper()}` | is `{new.upper()}`, where that is not set |" for old, new in FORMER.items()]
    lines += [f"| `{name.upper()}` | has no effect: {why} |" for name, why in FORGOTTEN.items()]
    lines.append("")
    return "\n".join(lines)


def error_codes() -> str:
    """Each code with its classes' default message, status and whether trying again helps."""
    from api.http.problems import status_of
    from parascribe.client.errors import CODES

    rules = (
        "Codes never change their meaning: match on them, not on messages. A *request* error answers the request that "
        "caused it; a *job* error is the `error.code` of a failed job, whose own requests still answer 200."
    )
    lines = [
        "# Error codes",
        "",
        "Made from `core/errors` and `api/http/problems.py` by `make docs`; do not edit.",
        "",
        rules,
        "",
    ]
    lines += ["| code | where | status | meaning | try again |", "|---|---|---|---|---|"]
    # what the framework answers by itself, and the two faces of `internal`
    lines += [
        "| `not_found` | request | 404 | There is nothing at that address. | no |",
        "| `method_not_allowed` | request | 405 | That address does not take that method. | no |",
        "| `internal` | request and job | 500 | Something went wrong inside the service; its log says more. | no |",
        "| `internal` | request | 503 | The database cannot be reached. | yes |",
    ]
    seen = {"internal"}
    kinds = [k for _, k in inspect.getmembers(errors, inspect.isclass) if issubclass(k, errors.ServiceError)]
    for kind in sorted(kinds, key=lambda k: (not issubclass(k, errors.RequestError), k.code)):
        own = "code" in vars(kind)
        if not own or kind.code in seen or issubclass(kind, errors.Interrupted):
            continue
        seen.add(kind.code)
        request = issubclass(kind, errors.RequestError | errors.TransientError) or kind is errors.ServiceError
        job = not issubclass(kind, errors.RequestError)
        where = " and ".join(w for w, on in (("request", request), ("job", job)) if on)
        status = str(status_of(kind())) if request else ""
        meaning = (kind.__doc__ or "").splitlines()[0]
        lines.append(f"| `{kind.code}` | {where} | {status} | {meaning} | {'yes' if kind.retryable else 'no'} |")
    lines += [
        "",
        "`parascribe transcribe --json` (in `error.code`) and the Python client also say, without the service:",
        "",
    ]
    lines += ["| code | meaning |", "|---|---|", *(f"| `{code}` | {meaning} |" for code, meaning in CODES.items())]
    return "\n".join([*lines, ""])


def formats() -> str:
    """What transcripts can be written as, and how they can look."""
    from core.options import options
    from core.transcript.formats import FORMATS
    from core.transcript.shaping import Shaping

    rules = (
        "`GET /api/v1/jobs/{id}/result?format=srt&max_lines=1`, `parascribe transcribe talk.mp3 -f srt --max-lines 1` and "
        '`client.result(id, "srt", max_lines=1)` mean the same. An option that a format does not take is refused, and so is '
        "what needs speakers, a translation or times of words (`word_cues`) of a transcript without them (`not_in_result`)."
    )
    lines = ["# Formats", "", "Made from `core/transcript` by `make docs`; do not edit.", "", rules, ""]
    lines += ["| format | media type | what it is |", "|---|---|---|"]
    for name, form in FORMATS.items():
        words = " ".join((form.write.__doc__ or "").split())
        lines.append(f"| `{name}` | `{form.media_type.partition(';')[0]}` | {words} |")
    lines += ["", "| option | values | default | meaning | for |", "|---|---|---|---|---|"]
    for option in options(Shaping):
        about = option.about
        values = ", ".join(option.choices) or (
            "true, false" if option.kind is bool else f"{about.ge:g} to {about.le:g}"
        )
        default = str(option.default).lower() if option.kind is bool else option.default
        takers = ", ".join(name for name, form in FORMATS.items() if option.name in form.takes)
        lines.append(f"| `{option.name}` | {values} | `{default}` | {about.help} | {takers} |")
    cues = inspect.getdoc(importlib.import_module("core.transcript.subtitles.cues").cues) or ""
    return "\n".join([*lines, "", "## Cues", "", cues.rpartition("\n\n")[2].replace("\n", " "), ""])


def metrics() -> str:
    """Every figure, as the registries have them."""
    from api.http.metrics import Asked, Metrics
    from core.jobs.consumers import ConsumerInfo
    from core.store.sql import SqlStore
    from worker.metrics import ConsumerMetrics, Seen

    store = SqlStore.in_memory()
    asked = Asked(counts=store.counts, backlog=store.backlog, consumers=store.consumers, undelivered=store.undelivered)
    seen = Seen(info=ConsumerInfo, busy=int, restarts=dict)
    tables = {
        "API": (
            Metrics(asked, version="0").registry,
            "`GET /metrics` at `API_PORT`, for this machine and for keys with the scope `admin`.",
        ),
        "Consumer": (
            ConsumerMetrics(ROOT, seen, version="0").registry,
            "`GET /metrics` at `METRICS_PORT`, off by default.",
        ),
    }
    rules = (
        "Prometheus's text format; names end in their unit. What the API says of jobs and consumers is read from the job table "
        "at each scrape, so each API process says the same: take `max`, not `sum`. Counters start anew with their process. "
        "For dashboard, alerts and autoscaling see [docs/ops](../ops/README.md)."
    )
    lines = [
        "# Metrics",
        "",
        "Made from `api/http/metrics.py` and `worker/metrics.py` by `make docs`; do not edit.",
        "",
        rules,
        "",
    ]
    for name, (registry, where) in tables.items():
        lines += [f"## {name}", "", where, "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        lines += sorted(_metric_rows(registry))
        lines.append("")
    return "\n".join(lines)


def _metric_rows(registry: CollectorRegistry) -> list[str]:
    rows = []
    for collector in registry._collector_to_names:
        for family in getattr(collector, "describe", list)():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = getattr(family, "_labelnames", ()) or getattr(collector, "_labelnames", ())
            shown = ", ".join(f"`{label}`" for label in labels)
            rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return rows


def openapi_description() -> str:
    """The description the service itself gives, made without starting it."""
    from api.access.identity import Open
    from api.app import create_app
    from api.deps import ApiDeps
    from core.objects.memory import MemoryObjects
    from core.store.sql import SqlStore
    from whisper.models.store import ModelStore

    deps = ApiDeps(
        settings=load(),
        objects=MemoryObjects(),
        models=ModelStore(ROOT / "none", ROOT / "none"),
        notify=lambda _: None,
        system=dict,
        checks={},
        version="0",
    )
    return json.dumps(create_app(deps, SqlStore.in_memory(), Open()).openapi(), indent=1, sort_keys=True) + "\n"


def pages() -> dict[Path, str]:
    from scripts.docs_cli import page as cli_reference

    return {
        ROOT / ".env.example": env_example(),
        ROOT / "docs/reference/configuration.md": configuration(),
        ROOT / "docs/reference/errors.md": error_codes(),
        ROOT / "docs/reference/formats.md": formats(),
        ROOT / "docs/reference/metrics.md": metrics(),
        ROOT / "docs/reference/cli.md": cli_reference(),
        ROOT / "docs/reference/openapi.json": openapi_description(),
    }


def main(check: bool) -> int:
    stale = []
    for path, text in pages().items():
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(path)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
