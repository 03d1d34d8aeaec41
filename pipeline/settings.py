"""Settings, read from environment variables with the prefix `ENGAGEMENT_`; the command line overrides some of them.

A program reads its settings once where it starts and passes them on; they are frozen, and grouped by their readers.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.clickhouse.url import ClickHouseUrl
from pipeline.errors import SettingsError
from pipeline.holds_secrets import HoldsSecrets
from pipeline.setting_values import FILES, ClickHouseAddress, HashKey, LongTerm, Servers, Term, Zone, servers_of
from pipeline.unknown_settings import warn_of_unknown_variables
from schemas.topics import Topics


class Settings(HoldsSecrets, BaseSettings):
    """All settings. A field is the variable `ENGAGEMENT_<NAME>`; docs/settings.md is generated from this class."""

    model_config = SettingsConfigDict(
        env_prefix="ENGAGEMENT_", frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False
    )

    # Kafka
    kafka: Servers = Field("127.0.0.1:9092", description="Bootstrap servers, host:port,...")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol"
    )
    kafka_ca: Path | None = Field(None, description="CA certificates (PEM) to trust for TLS; else the system's")
    kafka_sasl: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism"
    )
    kafka_user: str | None = Field(None, description="SASL user")
    kafka_password: SecretStr | None = Field(None, description="SASL password")
    topic_prefix: str = Field(
        "engagement",
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        examples=["1 to 100 letters, digits and . _ - such as engagement"],
        description="Prefix of topics and consumer groups",
    )
    partitions: int = Field(
        12, ge=1, le=1000, description="Partitions of each topic when they are made; never changed later"
    )
    replication: int = Field(1, ge=1, le=9, description="Replicas of each topic when they are made")
    retention_hours: int = Field(168, ge=1, description="How long Kafka keeps source records, hours")

    # ClickHouse
    clickhouse: ClickHouseAddress = Field(
        SecretStr("clickhouse://default@127.0.0.1:9000/engagement"),
        description="clickhouse://user:password@host:port/database, clickhouses:// for TLS",
    )
    clickhouse_ca: Path | None = Field(None, description="CA certificates (PEM) to trust for TLS")
    clickhouse_cluster: str | None = Field(None, description="Make tables Replicated and ON CLUSTER this one")
    clickhouse_sharded: bool = Field(False, description="Spread tables over that cluster's shards instead, no replicas")
    durable: bool = Field(False, description="fsync every insert: survives power loss, not only kill -9")

    # Worker
    instance: str | None = Field(
        None, description="Static group membership: a name that stays over restarts; of this worker alone"
    )
    future_limit_seconds: float = Field(600, ge=0, description="An event further ahead of its receipt is a dead letter")
    flush_seconds: float = Field(
        0.5, gt=0, le=60, description="Rows are stored at the latest this long after their events are read"
    )
    flush_events: int = Field(
        200_000,
        ge=1,
        description="... or as soon as this many events are read (fewer where 2 KB each exceed ENGAGEMENT_MEMORY_MB)",
    )
    memory_mb: int = Field(
        2048,
        ge=16,
        description="Memory for all that a worker keeps (docs/operations.md); beyond it the idlest posts are evicted",
    )
    stuck_minutes: float = Field(
        5, gt=0, description="The worker ends when lag is left and nothing was committed for this long"
    )
    fuse_records: int = Field(1000, ge=1, description="The fuse looks at this many latest records of the sources")
    fuse_share: float = Field(0.95, gt=0, le=1, description="... and stops the worker when this share of them is dead")

    # Conversations
    lateness_seconds: float = Field(
        60, ge=0, le=86_400, description="How long events of a minute may still come before it closes"
    )
    idle_seconds: float = Field(
        30, gt=0, le=86_400, description="A partition without records for this long does not hold minutes open"
    )
    open_cells: int = Field(
        2_000_000,
        ge=1000,
        description="Most cells (posts of minutes) that conversations keep in memory, where ENGAGEMENT_MEMORY_MB has "
        "room for as many; further ones are read from ClickHouse",
    )
    brands: Path | None = Field(
        None,
        description="YAML file of the brands that are tracked, as deploy/brands.example.yaml; none where not given",
    )
    label_keys: str = Field(
        "",
        pattern=r"^([A-Za-z0-9_.-]{1,64}(,[A-Za-z0-9_.-]{1,64})*)?$",
        examples=["keys of labels with commas between, such as campaign,product"],
        description="Labels of posts that are conversations of their own, as label:campaign=spring: campaign,product",
    )
    store_text: int = Field(
        0, ge=0, le=65_536, description="Characters of each post's or comment's text that are stored; 0: none"
    )
    business_hours: str = Field(
        "09:00-17:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$",
        examples=["two times with hours and minutes, such as 09:00-17:00"],
        description="Hours in which questions are answered: first responses to comments of these are shown apart",
    )
    business_days: str = Field(
        "1-5",
        pattern=r"^[1-7](-[1-7])?(,[1-7](-[1-7])?)*$",
        examples=["numbers of days with 1 for Monday, such as 1-5 or 2,4,6"],
        description="... on these days, 1 is Monday: 1-5, 2,4,6, or over the end of the week 7-4 (Sunday to Thursday)",
    )
    business_zone: Zone = Field("UTC", description="... in this time zone: Europe/Berlin")

    # Retention
    retention_posts_days: Term = Field(None, description="Days after its newest event at which a post goes whole")
    retention_conversations_days: LongTerm = Field(None, description="Days that minutes of conversations are kept")
    retention_history_days: Term = Field(None, description="Days that the history of posts that stand is kept")

    # Forecast
    forecast: Path | None = Field(
        None, description="Parameters that `engagement forecast fit` wrote; the shipped ones where not given"
    )
    calibrate: bool = Field(
        True, description="Whether workers learn the forecast's parameters of each channel, in a process beside them"
    )

    # Spikes
    spike_keys: str = Field(
        "hashtag,mention,brand,author,thread,label",
        pattern=r"^((hashtag|mention|brand|author|thread|label)(,(hashtag|mention|brand|author|thread|label))*)?$",
        examples=["kinds among hashtag, mention, brand, author, thread, label, with commas between: hashtag,brand"],
        description="Kinds of conversations that are watched for spikes; empty: none",
    )
    spike_series: int = Field(
        200_000,
        ge=1000,
        description="Most conversations that a worker watches, 1.2 KB each, where ENGAGEMENT_MEMORY_MB has room for as "
        "many; the idlest are let go",
    )

    # Alerts
    alerts: Path | None = Field(
        None,
        description="YAML file of who is told of spikes, as deploy/alerts.example.yaml; nobody where not given",
    )

    # Producers
    producer_memory_mb: int = Field(64, ge=1, description="Records that wait for their ack, MiB")
    producer_compression: Literal["lz4", "none"] = Field("lz4", description="Compression of what producers send")
    record_limit: int = Field(1_000_000, ge=1024, description="Largest record that is sent, bytes")

    # Privacy
    pseudonym_key: HashKey | None = Field(
        None,
        description="Secret, 32 characters at least: producers replace accounts by keyed hashes (docs/privacy.md)",
    )
    erasure_key: HashKey | None = Field(
        None,
        description="Secret, 32 characters at least: for `engagement forget`, and for workers from the first one on",
    )

    # Collector
    collect_keys: Path | None = Field(
        None,
        description="YAML file of keys, as `engagement collect-keys add` writes it; none: open, on loopback only",
    )
    collect_certificate: Path | None = Field(None, description="Certificate chain (PEM), for HTTPS")
    collect_private_key: Path | None = Field(None, description="... and its key (PEM, unencrypted)")
    collect_state: Path | None = Field(
        None, description="SQLite file of known notes, which Undo and Delete name by id; none: in memory alone"
    )
    collect_body_limit: int = Field(5_242_880, ge=1024, description="Largest body after decompression, bytes")
    collect_body_seconds: float = Field(30, gt=0, description="How long a body may take")
    collect_ack_seconds: float = Field(10, gt=0, description="How long a request waits for Kafka's acks, then 503")
    collect_concurrency: int = Field(256, ge=1, description="Requests of one key at a time; more get 429")
    collect_connections: int = Field(1000, ge=1, description="Open connections; more get 503")
    collect_idempotency_keys: int = Field(
        100_000, ge=1, description="Answers that are kept for a repeated Idempotency-Key, a day at most"
    )

    # Live page
    page_clickhouse: ClickHouseAddress | None = Field(None, description="For `serve`: by a user who reads only")
    page_token: SecretStr | None = Field(None, description="Beyond loopback: what viewers give, 16 characters")
    page_proxy_header: str | None = Field(None, description="... or a header in which a proxy names them: X-User")
    page_proxies: str = Field("127.0.0.1,::1", description="Proxies whose header counts: addresses or networks")

    # What people look at
    metrics_host: str = Field("127.0.0.1", description="Where /metrics, /healthz and /readyz listen")
    metrics_port: int = Field(9464, ge=0, le=65535, description="... and on which port; 0 takes a free one")
    source_metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of /metrics, /healthz and /readyz of a live source; none where not given",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged")
    log_json: bool = Field(False, description="Log lines as JSON objects")

    @field_validator("kafka_ca", "clickhouse_ca", "brands", "alerts", "collect_certificate", "collect_private_key")
    @classmethod
    def _file_is_there(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"{value} is not a file; name {FILES[info.field_name or '']}")
        return value

    @field_validator("business_hours")
    @classmethod
    def _hours_go_forward(cls, value: str) -> str:
        start, _, end = value.partition("-")
        if start >= end:
            raise ValueError(f"{value} ends before it starts; give both of one day, at most until 24:00")
        return value

    @model_validator(mode="after")
    def _sasl_knows_whom(self) -> "Settings":
        if self.kafka_security.startswith("SASL") and not (self.kafka_user and self.kafka_password):
            raise ValueError(
                f"ENGAGEMENT_KAFKA_SECURITY is {self.kafka_security}: set ENGAGEMENT_KAFKA_USER and "
                "ENGAGEMENT_KAFKA_PASSWORD too"
            )
        return self

    @model_validator(mode="after")
    def _pairs_go_together(self) -> "Settings":
        if self.clickhouse_sharded and not self.clickhouse_cluster:
            raise ValueError("ENGAGEMENT_CLICKHOUSE_SHARDED is true: set ENGAGEMENT_CLICKHOUSE_CLUSTER too")
        if self.stuck_minutes * 60 <= self.flush_seconds:
            raise ValueError(
                f"ENGAGEMENT_STUCK_MINUTES is {self.stuck_minutes:g}: must be longer than ENGAGEMENT_FLUSH_SECONDS "
                f"({self.flush_seconds:g} s), or the worker ends before it stores anything"
            )
        if self.record_limit > self.producer_memory_mb << 20:
            raise ValueError(
                f"ENGAGEMENT_RECORD_LIMIT is {self.record_limit} bytes: must fit into ENGAGEMENT_PRODUCER_MEMORY_MB "
                f"({self.producer_memory_mb} MiB), or the largest records wait for ever"
            )
        return self

    @property
    def spike_kinds(self) -> tuple[str, ...]:
        """Returns the kinds of `spike_keys`, each once."""
        return tuple(dict.fromkeys(self.spike_keys.split(","))) if self.spike_keys else ()

    @property
    def label_conversations(self) -> frozenset[str]:
        """Returns the keys of `label_keys`, in lower case."""
        return frozenset(self.label_keys.lower().split(",")) - {""}

    @property
    def bootstrap(self) -> list[str]:
        """Returns the bootstrap servers, each as host:port."""
        return servers_of(self.kafka)

    @property
    def topics(self) -> Topics:
        """Returns the topics under the prefix."""
        return Topics(self.topic_prefix)

    @property
    def clickhouse_url(self) -> ClickHouseUrl:
        """Returns the parts of the ClickHouse URL."""
        return ClickHouseUrl(self.clickhouse.get_secret_value())


def load_settings() -> Settings:
    """Reads the settings from the environment; warns of variables that look like settings and are none.

    Raises SettingsError that names the variable, without its value.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False, include_context=False)[0]
        said = flaw["msg"].removeprefix("Value error, ")
        if flaw["type"] == "string_pattern_mismatch":
            said = f"must be {(Settings.model_fields[str(flaw['loc'][0])].examples or ['text'])[0]}"
        name = "".join(f"ENGAGEMENT_{field}: ".upper() for field in flaw["loc"][:1])
        raise SettingsError(name + said) from None
    warn_of_unknown_variables(os.environ, Settings.model_fields, [settings.alerts], as_json=settings.log_json)
    return settings
