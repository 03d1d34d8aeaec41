"""The rules that watch the watcher: they name what exists, and promtool's own tests pass."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.observability.alert_metrics import ALERT_REASONS, HEARTBEAT_OUTCOMES, AlertMetrics
from pipeline.observability.metrics import WorkerMetrics

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy/prometheus/rules/heartbeat.yml"
TESTS = ROOT / "deploy/prometheus/tests/heartbeat_test.yml"
PAGE = ROOT / "docs/alerts.md"


def _metrics() -> WorkerMetrics:
    worker = WorkerMetrics()
    AlertMetrics(worker).name_receivers(["team"])
    return worker


def _named(text: str) -> set[str]:
    return set(re.findall(r"\bengagement_[a-z_]+", text))


def test_rules_and_their_tests_name_metrics_that_exist() -> None:
    known = {re.split(r"{", series)[0] for series in _metrics().snapshot()}
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        assert _named(rule["expr"]) <= known
        assert rule["labels"]["severity"] in ("critical", "warning", "none")
        assert {"summary", "description", "runbook"} <= rule["annotations"].keys()
    series = [s["series"] for case in yaml.safe_load(TESTS.read_text())["tests"] for s in case["input_series"]]
    assert set().union(*map(_named, series)) <= known


def test_every_rule_is_seen_to_fire_and_every_one_but_the_heartbeat_not_to() -> None:
    rules = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    cases = [each for case in yaml.safe_load(TESTS.read_text())["tests"] for each in case["alert_rule_test"]]
    assert {each["alertname"] for each in cases if each["exp_alerts"]} == rules
    assert {each["alertname"] for each in cases if not each["exp_alerts"]} == rules - {"EngagementHeartbeat"}


def test_runbooks_exist() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (path, anchor in anchors) == ("docs/alerts.md", True)


def test_the_page_lists_every_metric_and_what_it_counts() -> None:
    worker, own = WorkerMetrics(), _metrics()
    names = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in own.registry.collect()
        if family.name not in {each.name for each in worker.registry.collect()}
    }
    page = PAGE.read_text()
    assert len(names) >= 6
    assert set(re.findall(r"^\| `(engagement_[a-z_]+)", page, re.MULTILINE)) == names
    assert all(f"`{word}`" in page for word in (*ALERT_REASONS, *HEARTBEAT_OUTCOMES))


@pytest.mark.parametrize("arguments", [["check", "rules", str(RULES)], ["test", "rules", TESTS.name]])
def test_promtool_agrees(arguments: list[str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus); the rules' own tests were not run")
    done = subprocess.run(
        [promtool, *arguments], cwd=TESTS.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
