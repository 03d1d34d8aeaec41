"""The page of alerts lists the metrics of the alert agent."""

import re
from pathlib import Path

from pipeline.observability.alert_metrics import ALERT_REASONS, HEARTBEAT_OUTCOMES, AlertMetrics
from pipeline.observability.metrics import WorkerMetrics

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/alerts.md"


def _metrics() -> WorkerMetrics:
    worker = WorkerMetrics()
    AlertMetrics(worker).name_receivers(["team"])
    return worker


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
