"""deploy/kubernetes: right by Kubernetes's own schemas, and true to the service it starts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from core.config.settings import Settings
from scripts import docs

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy/kubernetes"
SCHEMAS = "1.37"
COMPONENT = "app.kubernetes.io/component"


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(DEPLOY.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if path.name != "kustomization.yaml":
                yield f"{path.parent.name}/{document['kind']}/{document['metadata']['name']}", document


OBJECTS = dict(objects())
BUILT_IN = {name: document for name, document in OBJECTS.items() if ".sh/" not in document["apiVersion"]}
PODS = {name: OBJECTS[f"base/Deployment/parascribe-{name}"]["spec"]["template"] for name in ("api", "consumer")}
SETTINGS: dict[str, str] = OBJECTS["base/ConfigMap/parascribe"]["data"]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (one,) = pod["spec"]["containers"]
    return one


pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


@pytest.mark.parametrize("name", BUILT_IN)
def test_kubernetes_would_take_it(name: str) -> None:
    kubernetes_validate.validate(BUILT_IN[name], SCHEMAS, strict=True)


def test_the_schemas_refuse_what_is_wrong() -> None:
    wrong = yaml.safe_load(yaml.safe_dump(BUILT_IN["base/Deployment/parascribe-api"]))
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, SCHEMAS, strict=True)


@pytest.mark.parametrize("folder", ["base", "keda"])
def test_each_file_is_part_of_it(folder: str) -> None:
    made = yaml.safe_load((DEPLOY / folder / "kustomization.yaml").read_text())
    assert {*made["resources"], "kustomization.yaml"} == {path.name for path in (DEPLOY / folder).iterdir()}


def test_the_settings_are_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = {
        "DATABASE_URL": "postgresql://u:p@postgres/parascribe",
        "BROKER_URL": "redis://:p@valkey:6379/0",
        "MINIO_ACCESS_KEY": "k",
        "MINIO_SECRET_KEY": "s",
    }
    comment = " ".join(re.findall(r"^# (.*)$", (DEPLOY / "base/settings.yaml").read_text(), re.MULTILINE))
    assert all(name in comment for name in secret)
    given = SETTINGS | secret
    assert {name.lower() for name in given} <= set(Settings.model_fields)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert not settings.loopback
    assert not settings.allow_open
    assert settings.metrics_port == container(PODS["consumer"])["ports"][0]["containerPort"]
    assert settings.live_port == container(PODS["consumer"])["ports"][1]["containerPort"]
    assert settings.live_host
    assert settings.api_port == container(PODS["api"])["ports"][0]["containerPort"]


@pod
def test_every_pod_is_locked_down(pod: dict[str, Any]) -> None:
    spec, locked = pod["spec"], container(pod)["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert locked["readOnlyRootFilesystem"] is True
    assert locked["allowPrivilegeEscalation"] is False
    assert locked["capabilities"] == {"drop": ["ALL"]}
    assert {"memory"} <= container(pod)["resources"]["limits"].keys()
    mounts = {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    for name in ("DATA_DIR", "WORK_DIR", "WHISPER_MODELS_DIR"):
        assert any(SETTINGS[name] == mount or SETTINGS[name].startswith(f"{mount}/") for mount in mounts), name
    assert "/tmp" in mounts


@pod
def test_programs_and_probes_are_there(pod: dict[str, Any]) -> None:
    one = container(pod)
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert (ROOT / one["command"][1]).is_file()
    described = json.loads((ROOT / "docs/reference/openapi.json").read_text())["paths"]
    for probe in (one[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in one):
        if "httpGet" in probe:
            assert probe["httpGet"]["path"] in described
            assert probe["httpGet"]["port"] in {port["name"] for port in one["ports"]}
        else:
            program = probe["exec"]["command"][1]
            assert (ROOT / program).is_file()
            assert program in dockerfile


def test_a_consumer_has_time_to_hand_back_its_work() -> None:
    shutdown = Settings.model_fields["shutdown_seconds"].default
    assert PODS["consumer"]["spec"]["terminationGracePeriodSeconds"] > shutdown + 10


@pytest.mark.parametrize("component", PODS)
def test_who_is_meant_is_met(component: str) -> None:
    """Services, budgets and policies find the pods they are for."""
    labels = PODS[component]["metadata"]["labels"]
    assert labels == {COMPONENT: component}
    name = f"parascribe-{component}"
    assert OBJECTS[f"base/Deployment/{name}"]["spec"]["selector"]["matchLabels"] == labels
    assert OBJECTS[f"base/PodDisruptionBudget/{name}"]["spec"]["selector"]["matchLabels"] == labels
    assert OBJECTS[f"base/NetworkPolicy/{name}"]["spec"]["podSelector"]["matchLabels"] == labels
    service = OBJECTS[f"base/Service/{name}"]["spec"]
    assert service["selector"] == labels
    ports = {port["name"]: port["containerPort"] for port in container(PODS[component])["ports"]}
    live = ports.pop("live", None)  # the api has the address of each from the database
    assert [(port["port"], ports[port["targetPort"]]) for port in service["ports"]] == [(n, n) for n in ports.values()]
    policy, *more = OBJECTS[f"base/NetworkPolicy/{name}"]["spec"]["ingress"]
    assert [port["port"] for port in policy["ports"]] == list(ports.values())
    assert all(one.keys() == {"namespaceSelector"} for one in policy["from"])
    for rule in more:
        assert [port["port"] for port in rule["ports"]] == [live]
        assert rule["from"] == [{"podSelector": {"matchLabels": {COMPONENT: "api"}}}]
    assert bool(more) == (live is not None)


def test_policies_are_for_our_own_pods_alone() -> None:
    """kustomize adds its labels to selectors that there are, and leaves one for all pods as it is."""
    policies = [document for name, document in OBJECTS.items() if "/NetworkPolicy/" in name]
    assert len(policies) == 3
    assert all(policy["spec"]["podSelector"]["matchLabels"] for policy in policies)


def test_keda_scales_the_consumers_by_what_the_api_says() -> None:
    scaled = OBJECTS["keda/ScaledObject/parascribe-consumer"]["spec"]
    assert f"base/Deployment/{scaled['scaleTargetRef']['name']}" in OBJECTS
    assert "replicas" not in OBJECTS["base/Deployment/parascribe-consumer"]["spec"], "two would set them"
    (trigger,) = scaled["triggers"]
    asked = trigger["metadata"]
    url = urlsplit(asked["url"])
    namespace = yaml.safe_load((DEPLOY / "base/kustomization.yaml").read_text())["namespace"]
    assert (url.hostname, url.port) == (f"parascribe-api.{namespace}.svc", 8000)
    described = json.loads((ROOT / "docs/reference/openapi.json").read_text())
    answer = described["paths"][url.path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    for part in asked["valueLocation"].split("."):
        answer = described["components"]["schemas"][answer["$ref"].rpartition("/")[2]]["properties"][part]
    assert answer["type"] == "number"
    login = OBJECTS[f"keda/TriggerAuthentication/{trigger['authenticationRef']['name']}"]["spec"]["secretTargetRef"]
    assert (asked["authMode"], [one["parameter"] for one in login]) == ("bearer", ["token"])
    assert login[0]["key"] in (ROOT / "docs/how-to/kubernetes.md").read_text()


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_what_pages_show_can_be_read(page: Path) -> None:
    for language, block in re.findall(r"^```(yaml|json)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        assert list(yaml.safe_load_all(block)), language


def test_the_image_is_this_version() -> None:
    version = re.search(r'^version = "(.*)"$', (docs.ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    made = yaml.safe_load((DEPLOY / "base/kustomization.yaml").read_text())
    assert made["images"] == [{"name": "parascribe", "newName": "registry.example/parascribe", "newTag": version[1]}]
