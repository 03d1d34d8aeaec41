"""The panels of the health dashboard with metrics of Prometheus, as tables of expressions."""

from typing import Final

_RATE: Final = "rate({}[$__rate_interval])"

Series = tuple[str, str]
"""An expression of PromQL and the name of its series."""

Chart = tuple[str, str, str, tuple[Series, ...]]
"""Title, description, unit and series of a panel."""


def rate_of(metric: str, by: str = "") -> str:
    """Returns the growth of a counter in a second, over all workers, or by labels."""
    return f"sum{f' by ({by})' if by else ''} ({_RATE.format(metric)})"


def quantile_of(share: float, histogram: str, by: str = "le") -> str:
    """Returns the value below which the share `share` of a histogram stays."""
    return f"histogram_quantile({share}, {rate_of(f'{histogram}_bucket', by)})"


FRESHNESS: Final = "engagement_event_to_queryable_seconds"
_STEPS: Final = "engagement_step_duration_seconds"
DEAD_RATIO: Final = f"{rate_of('engagement_dead_letters_total')} / {rate_of('engagement_events_total')}"

WORKERS_CHARTS: Final[tuple[Chart, ...]] = (
    (
        "Records per second",
        "Records read from the source topics, by what became of them.",
        "cps",
        ((rate_of("engagement_events_total", "outcome"), "{{outcome}}"),),
    ),
    (
        "Consumer lag",
        "Records that are not committed. A worker that is gone takes its series along; another one brings them back.",
        "short",
        (("sum by (topic) (engagement_consumer_lag)", "{{topic}}"),),
    ),
    (
        "Partitions that lag most",
        "One partition far above the others: a single post or conversation has nearly everything.",
        "short",
        (("topk(5, engagement_consumer_lag > 0)", "{{topic}} {{partition}}"),),
    ),
    (
        "Freshness",
        "From Kafka's receipt of an event to its rows being stored.",
        "s",
        tuple((quantile_of(share, FRESHNESS), name) for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))),
    ),
    (
        "Age of the watermark",
        "Minutes of conversations close once the watermark has passed them, usually after one to two minutes.",
        "s",
        (("max by (instance) (engagement_watermark_age_seconds)", "{{instance}}"),),
    ),
    (
        "Since the last commit",
        "Of each worker. Without records nothing is committed, so read it together with the lag.",
        "s",
        (("time() - (engagement_last_commit_timestamp_seconds > 0)", "{{instance}}"),),
    ),
    (
        "Seconds of each step, in a second",
        "Where batches spend their time, waits for stores included.",
        "s",
        ((rate_of(f"{_STEPS}_sum", "step"), "{{step}}"),),
    ),
    (
        "Slowest steps",
        "95 of 100 runs of a step take less.",
        "s",
        ((quantile_of(0.95, _STEPS, "step, le"), "{{step}}"),),
    ),
    (
        "CPU of each step",
        "Seconds of CPU in a second, of the thread that does the step.",
        "s",
        ((rate_of("engagement_step_cpu_seconds_total", "step"), "{{step}}"),),
    ),
    (
        "Records in a batch",
        "Large batches mean a backlog.",
        "short",
        tuple((quantile_of(share, "engagement_batch_events"), name) for share, name in ((0.5, "p50"), (0.95, "p95"))),
    ),
    (
        "Dead letters",
        "Records that could not be taken, by the field that is wrong.",
        "cps",
        ((rate_of("engagement_dead_letters_total", "reason_class"), "{{reason_class}}"),),
    ),
    (
        "Fields that are not stored",
        "Fields that events do not have, in a sample: one record of each partition and batch.",
        "cps",
        ((rate_of("engagement_unknown_fields_total", "field"), "{{field}}"),),
    ),
    (
        "Stores that fail",
        "Statements sent to ClickHouse again, and failed calls to Kafka.",
        "cps",
        (
            (rate_of("engagement_clickhouse_retries_total"), "ClickHouse"),
            (rate_of("engagement_kafka_errors_total"), "Kafka"),
        ),
    ),
)

MEMORY_CHARTS: Final[tuple[Chart, ...]] = (
    (
        "Memory by part",
        "What workers keep, by part of ENGAGEMENT_MEMORY_MB.",
        "bytes",
        (("sum by (part) (engagement_memory_bytes)", "{{part}}"),),
    ),
    (
        "Memory of processes",
        "Resident memory of each worker: kept state, batches, Python and compiled code.",
        "bytes",
        (('process_resident_memory_bytes{job="engagement"}', "{{instance}}"),),
    ),
    (
        "Evictions and look-ups",
        "Posts that left memory for want of room, and posts read from the log because they were not in memory.",
        "cps",
        (
            (rate_of("engagement_evicted_posts_total"), "evicted"),
            (rate_of("engagement_cold_reads_total"), "looked up"),
        ),
    ),
    (
        "State",
        "Posts and their events in memory; cells and minutes of conversations that are not closed.",
        "short",
        (
            ("sum(engagement_state_posts)", "posts"),
            ("sum(engagement_state_events)", "events"),
            ("sum(engagement_conversation_cells_open)", "open cells"),
            ("sum(engagement_conversation_minutes_open)", "open minutes"),
        ),
    ),
    (
        "Cells of conversations",
        "Cells read, by outcome; cold ones found no room in memory.",
        "cps",
        ((rate_of("engagement_conversation_cells_total", "outcome"), "{{outcome}}"),),
    ),
    (
        "Conversations that are watched",
        "Series of the spike detector, and those let go in an hour for want of room or because they were idle.",
        "short",
        (
            ("sum(engagement_spike_series)", "watched"),
            ("sum(increase(engagement_spike_series_released_total[1h]))", "let go in an hour"),
        ),
    ),
)

SOURCES_CHARTS: Final[tuple[Chart, ...]] = (
    (
        "Frames per second",
        "Frames that live sources receive.",
        "cps",
        ((rate_of("engagement_source_frames_total", "instance"), "{{instance}}"),),
    ),
    (
        "Events of live sources",
        "Events that live sources made of frames, by kind and action.",
        "cps",
        ((rate_of("engagement_source_events_total", "kind, action"), "{{kind}} {{action}}"),),
    ),
    (
        "Lag behind the stream",
        "Now less the time of the newest frame. Of a quiet stream it grows by itself.",
        "s",
        (("engagement_source_lag_seconds", "{{instance}}"),),
    ),
    (
        "Trouble of live sources, in an hour",
        "Frames that could not be mapped, ended connections, and gaps: times no host had the events any more.",
        "short",
        (
            ("sum(increase(engagement_source_dead_frames_total[1h]))", "dead frames"),
            ("sum(increase(engagement_source_reconnects_total[1h]))", "reconnects"),
            ("sum(increase(engagement_source_cursor_gaps_total[1h]))", "gaps"),
            ("count(engagement_source_connected == 0)", "without a host now"),
        ),
    ),
    (
        "Frames that are no event",
        "Frames that live sources skip, by why.",
        "cps",
        ((rate_of("engagement_source_skipped_total", "reason"), "{{reason}}"),),
    ),
    (
        "Requests of the collector",
        "Requests by status: 429 and 503 turn clients away, 4xx are mistakes of theirs.",
        "reqps",
        ((rate_of("engagement_collector_requests_total", "code"), "{{code}}"),),
    ),
    (
        "Answers of the collector",
        "Seconds until the answer, acks of Kafka included.",
        "s",
        tuple(
            (quantile_of(share, "engagement_collector_request_seconds"), name)
            for share, name in ((0.5, "p50"), (0.99, "p99"))
        ),
    ),
    (
        "Items of the collector",
        "Items by source and outcome.",
        "cps",
        ((rate_of("engagement_collector_items_total", "source, outcome"), "{{source}} {{outcome}}"),),
    ),
    (
        "Memory of the collector",
        "Records that wait for acks, and bodies of requests; each has a bound, beyond which clients get 429.",
        "bytes",
        (("sum(engagement_collector_waiting_bytes)", "waiting"), ("sum(engagement_collector_body_bytes)", "bodies")),
    ),
)

DELIVERY_CHARTS: Final[tuple[Chart, ...]] = (
    (
        "Spikes",
        "States of spikes that the detector sent, a minute, and spikes that go on.",
        "short",
        (
            (f"60 * {rate_of('engagement_spikes_total', 'state')}", "{{state}}"),
            ("sum(engagement_spikes_open)", "going on"),
        ),
    ),
    (
        "Deliveries",
        "States told and failed attempts, a minute, by receiver.",
        "short",
        (
            (f"60 * {rate_of('engagement_alerts_delivered_total', 'receiver')}", "{{receiver}}: told"),
            (f"60 * {rate_of('engagement_alerts_failed_total', 'receiver')}", "{{receiver}}: failed"),
            ("sum by (receiver) (engagement_alerts_waiting)", "{{receiver}}: waiting"),
        ),
    ),
    (
        "Heartbeat and detector",
        "Requests to the heartbeat's address in ten minutes; seconds of the detector and of its evidence, in a minute.",
        "short",
        (
            ("sum by (outcome) (increase(engagement_heartbeats_total[10m]))", "heartbeat {{outcome}}"),
            (f"60 * {rate_of('engagement_spike_detector_seconds_total')}", "detector"),
            (f"60 * {rate_of('engagement_spike_evidence_seconds_total')}", "evidence"),
        ),
    ),
)
