"""The names and labels of the metrics that workers, live sources and the collector expose, from their registries."""

import re
from collections import Counter
from typing import Final

from pipeline.observability.alert_metrics import AlertMetrics
from pipeline.observability.metrics import WorkerMetrics
from pipeline.observability.prometheus import MetricsRegistry
from pipeline.observability.source_metrics import SourceMetrics
from pipeline.observability.spike_metrics import SpikeMetrics
from producers.collector.metrics import CollectorMetrics

OF_THE_SCRAPE: Final = {"job", "instance"}
"""Labels that Prometheus adds to each series."""


def exposed_metrics() -> dict[str, set[str]]:
    """Returns each metric's labels by name, as a scrape of a busy deployment has them."""
    worker, source, collector = WorkerMetrics(), SourceMetrics(), CollectorMetrics()
    SpikeMetrics(worker)
    AlertMetrics(worker).name_receivers(["team"])
    worker.count_dead_letters("schema")
    worker.count_unknown_field("extra")
    worker.set_lag({("engagement.likes", 0): 1})
    source.set_totals(Counter({("skipped", "update"): 1}))
    collector.count_request("/v1/events", 202, "shop", 0.1)
    collector.count_items("shop", 1, 1, 1)
    found = {"up": set[str]()}
    for metrics in (worker, source, collector):
        found |= _exposed(metrics)
    return found


def _exposed(metrics: MetricsRegistry) -> dict[str, set[str]]:
    return {sample.name: set(sample.labels) for family in metrics.registry.collect() for sample in family.samples}


def metrics_in(promql: str) -> set[str]:
    """Returns the names of metrics in an expression; series that rules record have a colon and are left out."""
    names = re.findall(r"(?<![\w:])(?:engagement_\w+|process_\w+|up(?=\{))(?![\w:])", promql)
    return set(names)


def selectors_in(promql: str) -> list[tuple[str, set[str]]]:
    """Returns each metric with the labels that its selector names."""
    found = re.findall(r"(?<![\w:])(engagement_\w+|process_\w+|up)\{([^}]*)\}", promql)
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))) for name, labels in found]
