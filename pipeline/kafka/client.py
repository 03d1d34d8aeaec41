"""Connections to Kafka for everything that is not the worker's own loop: the one file that imports kafka-python.

Each connection is made from `Settings`; each error that comes out is one of ours: `Unavailable` (worth another try) or
`Refused` (another try changes nothing), with the cure. A password is in no repr and no log: kafka-python logs its
configuration at level DEBUG, so the password goes in as a string whose repr hides it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource
from kafka.partitioner import murmur2

from pipeline.errors import EngagementError, Refused, Unavailable
from pipeline.record_producer import Headers
from pipeline.settings import Settings

KAFKA_CONNECT_SECONDS: Final = 10.0
"""How long a first connection may take; a broker that starts answers within 3 s."""

SEND_REQUEST_SECONDS: Final = 30.0
LINGER_MS: Final = 20
"""A record waits this long for company. 10,000 records/s over 36 partitions are then five a batch, which spares a fifth
of the producer's CPU and half of the broker's beside 5 ms; it is nothing beside a flush of 500 ms."""

BATCH_BYTES: Final = 128 * 1024
FRAMING_BYTES: Final = 64 * 1024
"""Room that batch, record and headers take around the largest record."""

hash_key: Final[Callable[[bytes], int]] = murmur2
"""murmur2 as Kafka's own clients compute it, unsigned 32 bits; 8 us for a key of 20 bytes: callers keep the result."""


class Receipt(Protocol):
    """What becomes of one record. `value` is None until it is acked, then has the `timestamp` (milliseconds since 1970)
    with which it lies in the log; `exception` is kafka-python's; `translate_error` turns it into ours."""

    @property
    def value(self) -> Any: ...

    @property
    def is_done(self) -> bool: ...
    @property
    def exception(self) -> BaseException | None: ...
    def add_both(self, done: Callable[[Any], Any]) -> Any: ...


class Link(Protocol):
    """One producer connection. It may die of a failed record ("poisoned"): then `drop` it and open another."""

    def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers | None, partition: int | None
    ) -> Receipt:
        """Queues one record, in order per partition. Raises kafka-python's errors, see `translate_error`."""

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Blocks for KAFKA_CONNECT_SECONDS at most. Raises Unavailable, Refused."""

    def drop(self) -> None:
        """Ends the connection at once, without waiting for anything. What was not acked may or may not be in the
        log."""


@dataclass(frozen=True)
class LinkPolicy:
    """How a producer connection sends. `delivery_seconds`: kafka-python gives a record up, and itself, after this
    long."""

    delivery_seconds: float = 1800
    compression: str = "lz4"
    record_bytes: int = 1_000_000


class KafkaLink:
    """A `Link` to a real broker: idempotent, acks=all. Raises Unavailable when no broker answers within
    KAFKA_CONNECT_SECONDS."""

    def __init__(self, settings: Settings, policy: LinkPolicy) -> None:
        delivery_ms = int(policy.delivery_seconds * 1000)
        with translated_errors(settings):
            self._producer = _Producer(
                **client_options(settings),
                bootstrap_timeout_ms=int(KAFKA_CONNECT_SECONDS * 1000),
                max_block_ms=int(KAFKA_CONNECT_SECONDS * 1000),
                enable_idempotence=True,
                acks="all",
                compression_type=None if policy.compression == "none" else policy.compression,
                delivery_timeout_ms=delivery_ms,
                request_timeout_ms=int(min(SEND_REQUEST_SECONDS * 1000, max(delivery_ms - LINGER_MS, 1))),
                linger_ms=LINGER_MS,
                batch_size=BATCH_BYTES,
                max_request_size=max(1024 * 1024, policy.record_bytes + FRAMING_BYTES),
                reconnect_backoff_max_ms=1000,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        self.send = self._producer.send
        self._settings = settings

    def partitions(self, topic: str) -> int:
        try:
            with translated_errors(self._settings, topic):
                return len(self._producer.partitions_for(topic))
        except Unavailable as error:
            # kafka-python tells these two apart as little.
            where = f"Kafka at {self._settings.kafka} does not answer"
            raise Unavailable(f"topic {topic} is not there, or {where}: run `engagement init`") from error

    def drop(self) -> None:
        self._producer.abandoned = True
        self._producer.close(timeout=0)


class _Producer(KafkaProducer):  # type: ignore[misc]  # untyped
    """Closing flushes first, and a flush of a poisoned producer never ends: an abandoned one closes without."""

    abandoned = False

    def flush(self, timeout: float | None = None) -> None:
        if not self.abandoned:
            super().flush(timeout)


class Admin:
    """What is asked of a cluster about its topics. Made by `open_admin`."""

    def __init__(self, client: KafkaAdminClient, settings: Settings) -> None:
        self._client, self._settings = client, settings

    def partition_counts(self) -> dict[str, int]:
        """Partitions of every topic."""
        with translated_errors(self._settings):
            found = self._client.describe_topics()
        return {topic["name"]: len(topic["partitions"]) for topic in found if not topic["error_code"]}

    def topic_configs(self, topics: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The named settings of some topics, defaults included."""
        resources = [ConfigResource("TOPIC", topic, list(names)) for topic in topics]
        with translated_errors(self._settings):
            found = self._client.describe_configs(resources, config_filter="all").get("topic", {})
        return {topic: {name: str(said["value"]) for name, said in configs.items()} for topic, configs in found.items()}

    def create_topic(self, topic: str, partitions: int, replication: int, configs: Mapping[str, str]) -> bool:
        """Makes one topic and waits until every partition has a leader. False when it is there already."""
        wanted = {"num_partitions": partitions, "replication_factor": replication, "configs": dict(configs)}
        try:
            with translated_errors(self._settings, topic):
                self._client.create_topics({topic: wanted})
                self._client.wait_for_topics([topic])
        except Refused as error:
            if isinstance(error.__cause__, kafka_errors.TopicAlreadyExistsError):
                return False
            raise
        return True

    def delete_topics(self, topics: Sequence[str]) -> None:
        with translated_errors(self._settings):
            self._client.delete_topics(list(topics))


@contextmanager
def open_admin(settings: Settings, connect_seconds: float = KAFKA_CONNECT_SECONDS) -> Iterator[Admin]:
    """An administration connection. Raises Unavailable when no broker answers in time."""
    with translated_errors(settings):
        client = KafkaAdminClient(**client_options(settings), bootstrap_timeout_ms=int(connect_seconds * 1000))
    try:
        yield Admin(client, settings)
    finally:
        client.close()


@dataclass(frozen=True)
class TopicRecord:
    """A record as it lies in the log. `timestamp`: milliseconds since 1970, by the broker's clock."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def read_topic(settings: Settings, topic: str) -> Iterator[TopicRecord]:
    """All records of a topic up to its end at the time of the call, partition by partition. Commits nothing. Raises
    Unavailable."""
    with translated_errors(settings, topic):
        consumer = KafkaConsumer(
            **client_options(settings),
            bootstrap_timeout_ms=int(KAFKA_CONNECT_SECONDS * 1000),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
    try:
        with translated_errors(settings, topic):
            for number in sorted(consumer.partitions_for_topic(topic) or ()):
                yield from _read_partition(consumer, TopicPartition(topic, number))
    finally:
        consumer.close()


def client_options(settings: Settings) -> dict[str, Any]:
    """kafka-python's options that every connection shares."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "client_id": "engagement",
        "security_protocol": settings.kafka_security,
    }
    if settings.kafka_security in ("SSL", "SASL_SSL") and settings.kafka_ca:
        options["ssl_cafile"] = str(settings.kafka_ca)
    if settings.kafka_password is not None and settings.kafka_security.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl
        options["sasl_plain_username"] = settings.kafka_user
        options["sasl_plain_password"] = _Hidden(settings.kafka_password.get_secret_value())
    return options


@contextmanager
def translated_errors(settings: Settings, topic: str | None = None) -> Iterator[None]:
    """Turns kafka-python's errors into ours, which name the broker or the topic."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError, ValueError) as error:
        raise translate_error(error, settings.kafka, topic) from error


def translate_error(error: BaseException | None, broker: str, topic: str | None = None) -> EngagementError:
    """Our error for one of kafka-python's: Unavailable where another try may help, else Refused. The cause is left to
    `raise ... from`."""
    said = (str(error)[:200] or type(error).__name__) if error is not None else "no reason given"
    place = f"topic {topic}" if topic else f"Kafka at {broker}"
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return Unavailable(f"{place} is not there ({said}); run `engagement init`")
    if isinstance(error, kafka_errors.AuthorizationError):
        return Refused(f"{place}: not allowed ({said}); give ENGAGEMENT_KAFKA_USER the right to it")
    if isinstance(error, kafka_errors.SaslAuthenticationFailedError):
        return Refused(
            f"Kafka at {broker} knows neither user nor password ({said}); see ENGAGEMENT_KAFKA_USER and _PASSWORD"
        )
    if is_passing(error):
        return Unavailable(f"{place} does not answer ({said}); is it up, and is ENGAGEMENT_KAFKA right?")
    return Refused(f"{place} refuses ({said})")


def is_passing(error: BaseException | None) -> bool:
    """Whether another try may succeed: timeouts, lost connections, a producer that died of another record's failure."""
    if isinstance(error, kafka_errors.KafkaError):
        return bool(error.retriable) or isinstance(error, _DEATHS)
    return isinstance(error, OSError)


def concerns_topic(error: BaseException | None) -> bool:
    """Whether the broker refuses the whole topic, not one record in it."""
    return isinstance(error, kafka_errors.AuthorizationError | kafka_errors.InvalidTopicError)


_DEATHS: Final = (
    kafka_errors.IllegalStateError,
    kafka_errors.OutOfOrderSequenceNumberError,
    kafka_errors.UnknownProducerIdError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.InvalidProducerIdMappingError,
    kafka_errors.ProducerFencedError,
    kafka_errors.TransactionAbortedError,
    kafka_errors.BrokerNotAvailableError,
)
"""Not retriable for kafka-python's producer, which ends by them, but by a new one."""


class _Hidden(str):
    """A password that a logged configuration does not show."""

    def __repr__(self) -> str:
        return "'***'"


def _read_partition(consumer: KafkaConsumer, partition: TopicPartition) -> Iterator[TopicRecord]:
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    consumer.seek_to_beginning(partition)
    while consumer.position(partition) < end:
        for record in consumer.poll(timeout_ms=500).get(partition, ()):
            if record.offset < end:
                where = (record.topic, record.partition, record.offset, record.timestamp)
                yield TopicRecord(*where, record.key, record.value, tuple(record.headers))
