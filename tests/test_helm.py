"""The Helm chart of deploy/helm: values and their schema, and with helm (`make tools`) what it renders, checked against
Kubernetes' own schemas. Nothing is installed into a cluster here."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipeline.cli import all_commands
from pipeline.settings import Settings
from schemas.topics import Topics

ROOT: Final = Path(__file__).parent.parent
CHART: Final = ROOT / "deploy/helm/engagement-pipeline"
VALUES: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Final[dict[str, Any]] = json.loads((CHART / "values.schema.json").read_text())
RULES: Final = ROOT / "deploy/prometheus/rules"
HELM: Final = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
needs_helm = pytest.mark.skipif(
    HELM is None, reason="helm is not installed (make tools); only values and their schema were checked"
)

EVERYTHING: Final[dict[str, Any]] = {
    "brands": "Acme: {side: own, hashtags: [acme]}\n",
    "alerts": "receivers: {}\nroutes: []\n",
    "secrets": {"env": {"ENGAGEMENT_KAFKA_PASSWORD": "kafka", "TEAM_SLACK_URL": "slack"}},
    "settings": {"ENGAGEMENT_TOPIC_PREFIX": "social", "ENGAGEMENT_DURABLE": True, "ENGAGEMENT_PARTITIONS": 24},
    "worker": {"keda": {"enabled": True, "authenticationRef": "kafka"}},
    "sources": {"bluesky": {"enabled": True}, "mastodon": {"enabled": True, "storageClassName": "fast"}},
    "collector": {"enabled": True, "keysSecret": "keys", "args": ["--hook=shop=/etc/engagement/shop.yaml"]},
    "page": {"enabled": True, "replicas": 2},
    "networkPolicy": {"metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "registry"}]},
    "nodeSelector": {"pool": "streams"},
    "tolerations": [{"key": "streams", "operator": "Exists"}],
}
"""Values that turn on all that the chart has (autoscaling by CPU aside)."""


# ---------------------------------------------------------------- without helm


def test_the_schema_takes_the_values_and_names_each_of_them() -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    assert list(validator.iter_errors(VALUES)) == []

    def compare(values: dict[str, Any], schema: dict[str, Any], where: str) -> None:
        if "properties" in schema:
            assert schema["additionalProperties"] is False, where
            assert (
                values.keys() | {"global"} == schema["properties"].keys() | {"global"} or "maxUnavailable" in values
            ), where
            for name, value in values.items():
                if isinstance(value, dict):
                    compare(value, schema["properties"][name], f"{where}.{name}")

    compare(VALUES, SCHEMA, "values")


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker": {"replica": 3}},
        {"image": {"repository": "r", "digest": "sha256:abc"}},
        {"settings": {"ENGAGEMENT_KAFKA": "k:9092", "ENGAGEMENT_CLICKHOUSE": "clickhouse://u:secret@h/d"}},
        {"settings": {"ENGAGEMENT_KAFKA": "k:9092", "ENGAGEMENT_KAFKA_PASSWORD": "secret"}},
        {"settings": {"ENGAGEMENT_PARTITIONS": 12}},
        {"sources": {"bluesky": {"enabled": True, "args": [], "storage": "10Gi"}}},
        {"networkPolicy": {"egressPorts": [0]}},
        {"serviceMonitor": {"interval": "often"}},
    ],
)
def test_the_schema_refuses(wrong: dict[str, Any]) -> None:
    assert list(jsonschema.Draft7Validator(SCHEMA).iter_errors(wrong))


def test_templates_name_values_that_exist() -> None:
    named = set[str]()
    for path in (CHART / "templates").iterdir():
        named |= set(re.findall(r"\.Values\.([A-Za-z_.]+)", path.read_text()))
    assert len(named) >= 30
    for name in named:
        node: Any = VALUES
        for part in name.split("."):
            if part == "ENGAGEMENT_TOPIC_PREFIX":
                break
            assert part in node, f".Values.{name}"
            node = node[part]


def test_the_rules_are_those_of_prometheus_and_no_copy() -> None:
    assert (CHART / "rules").is_symlink()
    assert (CHART / "rules").resolve() == RULES
    assert len(list((CHART / "rules").glob("*.yml"))) >= 6


def test_the_version_is_the_one_that_is_packaged() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert chart["appVersion"] == chart["version"] == version[1]


def test_settings_and_commands_are_known() -> None:
    fields = {f"ENGAGEMENT_{name.upper()}" for name in Settings.model_fields}
    files = [CHART / "values.yaml", *(CHART / "templates").iterdir()]
    named = {name for path in files for name in re.findall(r"\bENGAGEMENT_[A-Z_]+", path.read_text())}
    assert len(named) >= 10
    assert named <= fields
    commands = {source["args"][0] for source in VALUES["sources"].values()} | {"init", "work", "collect", "serve"}
    assert commands <= all_commands().keys()


# ---------------------------------------------------------------- with helm


def _helm(*arguments: str | Path, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    command = [HELM, *arguments, *(("--values", "-") if values else ())]
    said = yaml.safe_dump(values) if values else None
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=120, check=False)


def _rendered(values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    done = _helm("template", "social", CHART, "--namespace", "streams", values=values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def _pods(documents: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents:
        if document["kind"] in ("StatefulSet", "Deployment", "Job"):
            yield document["metadata"]["name"], document["spec"]["template"]


def _named(documents: list[dict[str, Any]], kind: str, suffix: str = "") -> dict[str, Any]:
    [found] = [d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(suffix)]
    return found


@needs_helm
def test_helm_finds_no_fault_and_would_find_one(tmp_path: Path) -> None:
    for values in (None, EVERYTHING):
        done = _helm("lint", "--strict", CHART, values=values)
        assert done.returncode == 0, done.stdout + done.stderr
    done = _helm("lint", "--strict", CHART, values={"worker": {"replica": 3}})
    assert done.returncode == 1
    assert "replica" in done.stdout + done.stderr


@needs_helm
@pytest.mark.parametrize(
    "values", [{}, EVERYTHING, {"worker": {"autoscaling": {"enabled": True}}}], ids=["default", "all", "cpu"]
)
def test_kubernetes_takes_what_is_rendered(values: dict[str, Any]) -> None:
    documents = _rendered(values)
    unknown = []
    for document in documents:
        try:
            for version in ("1.27", "1.37"):
                kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.append(document["kind"])
    wanted = ["PrometheusRule", "ScaledObject", "ServiceMonitor"] if values is EVERYTHING else []
    assert sorted(unknown) == wanted, "objects of operators, which no schema describes"
    pod = _named(documents, "StatefulSet", "-worker")["spec"]["template"]["spec"]
    broken = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod | {"containerz": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


@needs_helm
def test_pods_are_locked_down_and_bounded() -> None:
    user = re.search(r"^USER (\d+)$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert user
    pods = dict(_pods(_rendered(EVERYTHING)))
    assert len(pods) == 6
    for name, pod in pods.items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        security = spec["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, int(user[1]))
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            lock = container["securityContext"]
            assert (lock["allowPrivilegeEscalation"], lock["readOnlyRootFilesystem"]) == (False, True)
            assert lock["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert container["image"] == f"engagement-pipeline@sha256:{'0' * 64}"
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
            folders = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert not any(Path("/opt/engagement/kernels").is_relative_to(folder) for folder in folders)
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            claims = {c["metadata"]["name"] for c in _claims(_rendered(EVERYTHING), name)}
            assert mounted <= {volume["name"] for volume in spec["volumes"]} | claims


def _claims(documents: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    [owner] = [d for d in documents if d["metadata"]["name"] == name and "template" in d["spec"]]
    claims: list[dict[str, Any]] = owner["spec"].get("volumeClaimTemplates", [])
    return claims


@needs_helm
def test_secrets_come_from_the_secret_that_exists() -> None:
    documents = _rendered(EVERYTHING)
    assert "Secret" not in {document["kind"] for document in documents}
    keys = {}
    for name, pod in _pods(documents):
        for container in pod["spec"]["containers"]:
            told = {entry["name"]: entry for entry in container["env"]}
            assert len(told) == len(container["env"]), f"{name}: a variable is there twice"
            for secret in ("ENGAGEMENT_CLICKHOUSE", "ENGAGEMENT_KAFKA_PASSWORD", "TEAM_SLACK_URL"):
                assert told[secret]["valueFrom"]["secretKeyRef"]["name"] == "engagement"
            keys[name.rpartition("-")[2]] = told["ENGAGEMENT_CLICKHOUSE"]["valueFrom"]["secretKeyRef"]["key"]
            assert told["ENGAGEMENT_DURABLE"]["value"] == "true", "settings are strings that the program reads"
            assert told["ENGAGEMENT_PARTITIONS"]["value"] == "24"
    assert keys.pop("init") == "clickhouse-admin"
    assert keys.pop("page") == "clickhouse-reader"
    assert set(keys.values()) == {"clickhouse"}


@needs_helm
def test_tables_are_made_before_workers_change() -> None:
    documents = _rendered()
    job = _named(documents, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["init"]
    # It must not need what Helm makes only afterwards.
    assert "ConfigMap" not in {d["kind"] for d in documents}
    refs = [v for v in job["spec"]["template"]["spec"]["volumes"] if "configMap" in v or "persistentVolumeClaim" in v]
    assert refs == []


@needs_helm
def test_a_pods_name_is_its_place_in_the_consumer_group() -> None:
    documents = _rendered(EVERYTHING)
    worker = _named(documents, "StatefulSet", "-worker")
    container = worker["spec"]["template"]["spec"]["containers"][0]
    told = {entry["name"]: entry for entry in container["env"]}
    assert told["ENGAGEMENT_INSTANCE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert (told["ENGAGEMENT_BRANDS"]["value"], told["ENGAGEMENT_ALERTS"]["value"]) == (
        "/etc/engagement/brands.yaml",
        "/etc/engagement/alerts.yaml",
    )
    files = _named(documents, "ConfigMap")
    assert {name: yaml.safe_load(text) for name, text in files["data"].items()} == {
        "brands.yaml": yaml.safe_load(EVERYTHING["brands"]),
        "alerts.yaml": yaml.safe_load(EVERYTHING["alerts"]),
    }
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}
    port = {p["name"]: p["containerPort"] for p in container["ports"]}["metrics"]
    assert str(port) == told["ENGAGEMENT_METRICS_PORT"]["value"] == str(Settings.model_fields["metrics_port"].default)


@needs_helm
def test_selectors_find_their_pods() -> None:
    documents = _rendered(EVERYTHING)
    labels = {name: pod["metadata"]["labels"] for name, pod in _pods(documents)}
    for document in documents:
        spec, kind = document.get("spec", {}), document["kind"]
        selector = spec.get("selector", spec.get("podSelector"))
        if kind in ("Service", "PodDisruptionBudget", "StatefulSet", "Deployment", "NetworkPolicy"):
            wanted = selector if kind == "Service" else selector["matchLabels"]
            found = [name for name, its in labels.items() if wanted.items() <= its.items()]
            whole = kind == "NetworkPolicy" and document["metadata"]["name"].rpartition("-")[2] in (
                "pipeline",
                "metrics",
            )
            assert found == (list(labels) if whole else [document["metadata"]["name"]]), document["metadata"]["name"]


@needs_helm
def test_load_scales_workers_by_one_means() -> None:
    scaled = _named(_rendered(EVERYTHING), "ScaledObject")
    worker = _named(_rendered(EVERYTHING), "StatefulSet", "-worker")
    assert "replicas" not in worker["spec"], "who scales decides"
    assert scaled["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    groups = [trigger["metadata"]["consumerGroup"] for trigger in scaled["spec"]["triggers"]]
    assert groups == [Topics("social").prefix, "social-conversations"]
    cpu = _named(_rendered({"worker": {"autoscaling": {"enabled": True}}}), "HorizontalPodAutoscaler")
    assert cpu["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
    both = {"worker": {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}}
    done = _helm("template", "social", CHART, values=both)
    assert done.returncode == 1
    assert "enable one of them" in done.stderr
    done = _helm("template", "social", CHART, values={"collector": {"enabled": True}})
    assert done.returncode == 1
    assert "collector.keysSecret" in done.stderr


@needs_helm
def test_prometheus_gets_its_rules_and_jobs() -> None:
    documents = _rendered(EVERYTHING)
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    assert _named(documents, "PrometheusRule")["spec"]["groups"] == groups
    monitor = _named(documents, "ServiceMonitor")["spec"]
    label = monitor["jobLabel"]
    services = [document for document in documents if document["kind"] == "Service"]
    jobs = {s["metadata"]["labels"][label] for s in services if label in s["metadata"]["labels"]}
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert jobs == {job["job_name"] for job in scraped}
    ports = {port["name"] for s in services if label in s["metadata"]["labels"] for port in s["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} == ports
