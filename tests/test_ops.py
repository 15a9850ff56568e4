"""docs/ops: what is asked of Prometheus exists, and each alert has its place in the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

ROOT = Path(__file__).parents[1]
OPS = ROOT / "docs/ops"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((OPS / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
DASHBOARD: dict[str, Any] = json.loads((OPS / "grafana/dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
BY_PROMETHEUS = {"job", "instance", "le"}
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]


def known() -> dict[str, set[str]]:
    """Labels by metric, as the generated page has them; a histogram's series by their own names."""
    found = {"up": set[str]()} | {name: set[str]() for name in RECORDED}
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs/reference/metrics.md").read_text(), re.MULTILINE
    )
    for name, kind, labels in rows:
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {name + ending: set(re.findall(r"`(\w+)`", labels)) for ending in endings}
    return found


KNOWN = known()


def selectors(expression: Any) -> Iterator[Any]:
    """Those of an expression, inside of all others."""
    if isinstance(expression, promql.VectorSelector):
        yield expression
    inside = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "vector_selector", "vs")]
    for one in (*inside, *getattr(expression, "args", ())):
        if one is not None and not isinstance(one, str):
            yield from selectors(one)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_asked_for_exists(expression: str) -> None:
    found = list(selectors(promql.parse(expression)))
    named = set(re.findall(r"\bparascribe[\w:]+", expression))
    assert {one.name for one in found} - {"up"} == named
    labels = set().union(*(KNOWN[one.name] for one in found)) | BY_PROMETHEUS
    for one in found:
        asked = {matcher.name for matcher in one.matchers.matchers}
        assert asked <= KNOWN[one.name] | BY_PROMETHEUS, one.name
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
    assert grouped <= labels


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert alert["annotations"]["summary"]
    page, _, place = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (\w+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert place == alert["alert"].lower()
    assert alert["alert"] in headings
    assert re.fullmatch(r"(\d+[smhd])?", alert.get("for", ""))


def test_the_runbook_is_of_these_alerts() -> None:
    headings = re.findall(r"^## (\w+)$", (OPS / "runbook.md").read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]


def test_the_dashboard_is_whole() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    sources = {one["name"] for one in DASHBOARD["templating"]["list"]}
    assert sources == {"datasource"}
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
    asked = {name for expression in EXPRESSIONS for name in re.findall(r"\bparascribe\w+", expression)}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in KNOWN if name.startswith("parascribe")}
    unseen = families - {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
    assert unseen <= RECORDED | {"parascribe_build_info", "parascribe_job_slots"}, "figures that nobody looks at"


def test_the_scrape_jobs_are_the_ones_that_alerts_go_by() -> None:
    config = yaml.safe_load((OPS / "prometheus.yml").read_text())
    assert config["rule_files"] == ["rules.yml"]
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in config["scrape_configs"]}
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert set(jobs) == {"parascribe-api", "parascribe-consumer"}
    assert jobs["parascribe-api"]["names"] == ["api"]
    assert jobs["parascribe-consumer"]["names"] == ["consumer"]
    assert services["consumer"]["environment"]["METRICS_PORT"] == str(jobs["parascribe-consumer"]["port"])


def test_each_alert_goes_off_in_a_test_of_the_rules() -> None:
    """promtool runs those, where it is."""
    tested = yaml.safe_load((OPS / "rules_test.yml").read_text())
    assert tested["rule_files"] == ["rules.yml"]
    expected = [one for test in tested["tests"] for one in test.get("alert_rule_test", ())]
    gone_off = [one["alertname"] for one in expected if one["exp_alerts"]]
    assert sorted(gone_off) == sorted(alert["alert"] for alert in ALERTS)
    asked = {
        name
        for test in tested["tests"]
        for series in test["input_series"]
        for name in re.findall(r"^\w+", series["series"])
    }
    assert asked <= KNOWN.keys()


@pytest.mark.parametrize(
    "what", ["check rules rules.yml", "check config prometheus.yml", "test rules rules_test.yml"], ids=str
)
def test_promtool_agrees(what: str) -> None:
    """Where it is installed; the tests above do not need it."""
    if (promtool := shutil.which("promtool")) is None:
        return
    done = subprocess.run([promtool, *what.split()], cwd=OPS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
