"""Connections to Kafka by kafka-python, for everything but the worker's own loop. No other file imports kafka-python.

Connections are made from `Settings`. Errors of kafka-python become `Unavailable` (another try may succeed) or `Refused`
(another try changes nothing), with the cure. No repr and no log shows a password: kafka-python logs its configuration
at level DEBUG, so the password is passed as a string whose repr hides it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, OffsetSpec
from kafka.partitioner import murmur2

from pipeline.errors import EngagementError, Refused, Unavailable
from pipeline.kafka.link import LinkPolicy
from pipeline.settings import Settings

KAFKA_CONNECT_SECONDS: Final = 10.0
"""How long a first connection may take; a broker that is starting answers within 3 s."""

SEND_REQUEST_SECONDS: Final = 30.0
LINGER_MS: Final = 20
"""How long a record waits for others of its batch. At 10,000 records/s over 36 partitions a batch then holds five
records, which saves a fifth of the producer's CPU and half of the broker's against 5 ms; a flush takes 500 ms."""

BATCH_BYTES: Final = 128 * 1024
FRAMING_BYTES: Final = 64 * 1024
"""Bytes that the framing of batch, record and headers adds to the largest record."""

Offsets = dict[tuple[str, int], int]
"""Offsets by topic and partition."""

TopicPlace: Final = TopicPartition
"""A topic and a partition, as kafka-python's consumer has them."""

hash_key: Final[Callable[[bytes], int]] = murmur2
"""murmur2 as Kafka's own clients compute it, unsigned 32 bits; 8 us for a key of 20 bytes, so callers cache it."""


class KafkaLink:
    """A `Link` to a real broker: idempotent, with acks=all.

    Making one raises Unavailable when no broker answers within KAFKA_CONNECT_SECONDS.
    """

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
            # kafka-python reports both cases by the same error.
            where = f"Kafka at {self._settings.kafka} does not answer"
            raise Unavailable(f"topic {topic} is not there, or {where}: run `engagement init`") from error

    def drop(self) -> None:
        self._producer.abandoned = True
        self._producer.close(timeout=0)


class _Producer(KafkaProducer):  # type: ignore[misc]  # untyped
    """kafka-python's producer, which can be closed without a flush: the flush of a poisoned producer never ends."""

    abandoned = False

    def flush(self, timeout: float | None = None) -> None:
        if not self.abandoned:
            super().flush(timeout)


class Admin:
    """Questions about the topics of a cluster, and their creation. Opened by `open_admin`."""

    def __init__(self, client: KafkaAdminClient, settings: Settings) -> None:
        self._client, self._settings = client, settings

    def partition_counts(self) -> dict[str, int]:
        """Returns the number of partitions of every topic, by name."""
        with translated_errors(self._settings):
            found = self._client.describe_topics()
        return {topic["name"]: len(topic["partitions"]) for topic in found if not topic["error_code"]}

    def ends(self, topics: Sequence[str]) -> Offsets:
        """Returns the offset of the next record of every partition. Raises Unavailable for a missing topic."""
        return self._offsets(topics, OffsetSpec.LATEST)

    def beginnings(self, topics: Sequence[str]) -> Offsets:
        """Returns the offset of the oldest record in every partition. Raises as `ends`."""
        return self._offsets(topics, OffsetSpec.EARLIEST)

    def committed(self, group: str) -> Offsets:
        """Returns the committed offsets of a consumer group; none where nobody has heard of the group."""
        with translated_errors(self._settings):
            try:
                found = self._client.list_group_offsets({group: None})[group]
            except kafka_errors.GroupIdNotFoundError:
                return {}
        return {(place.topic, place.partition): said.offset for place, said in found.items() if said.offset >= 0}

    def has_members(self, group: str) -> bool:
        """Returns whether a consumer group has members; a group that nobody has heard of has none."""
        with translated_errors(self._settings):
            return bool(self._client.describe_groups([group])[group]["members"])

    def _offsets(self, topics: Sequence[str], spec: OffsetSpec) -> Offsets:
        counts = self.partition_counts()
        if missing := sorted(set(topics) - counts.keys()):
            raise Unavailable(f"topic {missing[0]} is not there: run `engagement init`")
        places = {TopicPartition(topic, number): spec for topic in topics for number in range(counts[topic])}
        with translated_errors(self._settings):
            found = self._client.list_partition_offsets(places)
        return {(place.topic, place.partition): said.offset for place, said in found.items()}

    def topic_configs(self, topics: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Returns the named settings of some topics, by topic and name; defaults are included."""
        resources = [ConfigResource("TOPIC", topic, list(names)) for topic in topics]
        with translated_errors(self._settings):
            found = self._client.describe_configs(resources, config_filter="all").get("topic", {})
        return {topic: {name: str(said["value"]) for name, said in configs.items()} for topic, configs in found.items()}

    def create_topic(self, topic: str, partitions: int, replication: int, configs: Mapping[str, str]) -> bool:
        """Creates a topic and waits until every partition has a leader; returns False when the topic exists."""
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
        """Deletes topics. Raises Refused for a topic that does not exist."""
        with translated_errors(self._settings):
            self._client.delete_topics(list(topics))


@contextmanager
def open_admin(settings: Settings, connect_seconds: float = KAFKA_CONNECT_SECONDS) -> Iterator[Admin]:
    """Opens a connection for administration. Raises Unavailable when no broker answers within `connect_seconds`."""
    with translated_errors(settings):
        client = KafkaAdminClient(**client_options(settings), bootstrap_timeout_ms=int(connect_seconds * 1000))
    try:
        yield Admin(client, settings)
    finally:
        client.close()


@contextmanager
def open_consumer(settings: Settings, topic: str, reset: str = "earliest") -> Iterator[KafkaConsumer]:
    """Opens a consumer of kafka-python without a group; errors that the block raises are translated. `reset`: where
    reading goes on when an offset is not there, or none. Raises Unavailable."""
    with translated_errors(settings, topic):
        consumer = KafkaConsumer(
            **client_options(settings),
            bootstrap_timeout_ms=int(KAFKA_CONNECT_SECONDS * 1000),
            enable_auto_commit=False,
            auto_offset_reset=reset,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        try:
            yield consumer
        finally:
            consumer.close()


def client_options(settings: Settings) -> dict[str, Any]:
    """Returns the options of kafka-python that every connection shares."""
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
    """Raises errors of kafka-python as errors of this project, which name the broker or the topic."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError, ValueError) as error:
        raise translate_error(error, settings.kafka, topic) from error


def translate_error(error: BaseException | None, broker: str, topic: str | None = None) -> EngagementError:
    """Returns this project's error for one of kafka-python's: Unavailable where another try may help, else Refused.

    The caller sets the cause by `raise ... from`.
    """
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
    """Tells whether another try may succeed: timeouts, lost connections, a producer that was poisoned."""
    if isinstance(error, kafka_errors.KafkaError):
        return bool(error.retriable) or isinstance(error, _DEATHS)
    return isinstance(error, OSError)


def concerns_topic(error: BaseException | None) -> bool:
    """Tells whether the broker refuses the whole topic, not a record."""
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
"""Errors that end a producer of kafka-python, but that a new producer does not have."""


class _Hidden(str):
    """A password whose repr shows nothing, for logged configurations."""

    def __repr__(self) -> str:
        return "'***'"
