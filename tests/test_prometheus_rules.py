"""The rules of deploy/prometheus: they name what exists, lead to a section that says what to do, and promtool sees each
alert fire and stay silent."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.metric_names import OF_THE_SCRAPE, exposed_metrics, metrics_in, selectors_in

ROOT: Final = Path(__file__).parent.parent
PROMETHEUS: Final = ROOT / "deploy/prometheus"
RULES: Final[dict[str, list[dict[str, Any]]]] = {
    path.stem: [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
}
CASES: Final[dict[str, list[dict[str, Any]]]] = {
    path.stem: yaml.safe_load(path.read_text())["tests"] for path in sorted((PROMETHEUS / "tests").glob("*.yml"))
}
ALERTS: Final = [rule for rules in RULES.values() for rule in rules if "alert" in rule]
RECORDED: Final = [rule["record"] for rules in RULES.values() for rule in rules if "record" in rule]

EACH_ALERT: Final = pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])


def test_what_is_watched() -> None:
    assert len(ALERTS) == len({rule["alert"] for rule in ALERTS}) >= 30
    watched = set().union(*(metrics_in(rule["expr"]) for rules in RULES.values() for rule in rules))
    assert watched >= {
        "engagement_consumer_lag",
        "engagement_event_to_queryable_seconds_bucket",
        "engagement_events_total",
        "engagement_batch_commits_total",
        "engagement_clickhouse_retries_total",
        "engagement_kafka_errors_total",
        "engagement_evicted_posts_total",
        "engagement_memory_bytes",
        "engagement_source_frames_total",
        "engagement_source_lag_seconds",
        "engagement_collector_requests_total",
        "engagement_alerts_failed_total",
        "engagement_spikes_total",
        "engagement_watermark_age_seconds",
    }


def test_rules_and_their_tests_name_metrics_and_labels_that_exist() -> None:
    known = exposed_metrics()
    texts = [rule["expr"] for rules in RULES.values() for rule in rules]
    texts += [series["series"] for cases in CASES.values() for case in cases for series in case["input_series"]]
    for text in texts:
        assert metrics_in(text) <= known.keys(), text
        for metric, labels in selectors_in(text):
            assert labels <= known[metric] | OF_THE_SCRAPE, text
        assert set(re.findall(r"\bjob:\w+:\w+", text)) <= set(RECORDED), text


def test_jobs_that_rules_name_are_scraped() -> None:
    scraped = {job["job_name"] for job in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]}
    named = [re.findall(r'\bjob=~?"([^"]+)"', rule["expr"]) for rules in RULES.values() for rule in rules]
    assert {job for found in named for jobs in found for job in jobs.split("|")} == scraped


def test_alertmanager_holds_back_alerts_that_exist_and_share_the_labels() -> None:
    config = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
    known, alerts = exposed_metrics(), {rule["alert"]: rule["expr"] for rule in ALERTS}
    for rule in config["inhibit_rules"]:
        matchers = [*rule["source_matchers"], *rule["target_matchers"]]
        names = {name for matcher in matchers for name in re.findall(r"\b(Engagement\w+)", matcher)}
        assert len(names) >= 2
        for name in names:
            grouped = {label for by in re.findall(r"\bby \(([^)]*)\)", alerts[name]) for label in by.split(", ")}
            whole = set().union(OF_THE_SCRAPE, *(known[metric] for metric in metrics_in(alerts[name])))
            recorded = {"job"} if "job:" in alerts[name] else set()
            assert set(rule.get("equal", [])) <= (recorded or grouped or whole), name


def test_labels_that_alerts_are_grouped_and_worded_by_exist() -> None:
    known = exposed_metrics()
    for rule in ALERTS:
        grouped = {name for names in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]) for name in names.split(", ")}
        own = set().union(OF_THE_SCRAPE, *(known[metric] for metric in metrics_in(rule["expr"])))
        assert grouped <= own, rule["alert"]
        worded = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert worded <= (grouped or own), rule["alert"]


@EACH_ALERT
def test_an_alert_says_how_bad_what_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"} | ({"none"} & {_severity_of_a_heartbeat(rule)})
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert len(re.sub(r"\{\{.*?\}\}", "", rule["annotations"]["summary"])) <= 110
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    project = (ROOT / "pyproject.toml").read_text()
    documentation = re.search(r'^Documentation = "(.+)/tree/main/docs"$', project, re.MULTILINE)
    assert documentation
    path = page.removeprefix(f"{documentation[1]}/blob/main/")
    assert path in ("docs/operations.md", "docs/alerts.md")
    section = _sections(ROOT / path).get(anchor)
    assert section is not None, f"{path} has no section #{anchor}"
    assert f"`{rule['alert']}`" in section or rule["alert"] in _TOLD_WITHOUT_NAME, "the section names its alerts"


_TOLD_WITHOUT_NAME: Final = {"EngagementHeartbeat", "EngagementStuck", "EngagementNotReady", "EngagementRestarting"}
"""Alerts whose section is about the state itself."""


def _severity_of_a_heartbeat(rule: dict[str, Any]) -> str:
    return "none" if rule["alert"] == "EngagementHeartbeat" else ""


def _sections(page: Path) -> dict[str, str]:
    """Returns the text of each section of a page by its anchor on GitHub."""
    parts = re.split(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {
        re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")): text
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_each_alert_is_seen_to_fire_and_to_stay_silent() -> None:
    """promtool compares (below); here it is counted that the cases have both ends for every alert."""
    fired, silent = set[str](), set[str]()
    for stem, cases in CASES.items():
        tested = {rule["alert"] for rule in RULES[stem.removesuffix("_test")] if "alert" in rule}
        for case in cases:
            for each in case.get("alert_rule_test", []):
                (fired if each["exp_alerts"] else silent).add(each["alertname"])
            for each in case.get("promql_expr_test", []):
                there = set(re.findall(r'alertname="(\w+)"', str([each["exp_samples"], each["expr"]])))
                fired |= there & tested
                if each["expr"].startswith("count by (alertname)"):
                    silent |= tested - there
    names = {rule["alert"] for rule in ALERTS}
    assert names - fired == set()
    assert names - silent == {"EngagementHeartbeat"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "prometheus.yml"],
        *(["check", "rules", f"rules/{stem}.yml"] for stem in RULES),
        *(["test", "rules", f"tests/{stem}.yml"] for stem in CASES),
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: list[str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus); the rules' own tests were not run")
    done = subprocess.run(
        [promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
