"""The topics: made once, checked ever after, and never grown.

A record of a post lies on partition murmur2(post_id) mod n of its topic, in all four source topics alike, and one
worker owns partition n of all four (law 6). With another n every post would move while its past stays: so growth is
refused; more partitions mean a new set of topics under a new prefix.

    >>> partition_of(b"p1", 12)
    2
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pipeline.errors import SchemaDrift
from pipeline.kafka.client import FRAMING_BYTES, Admin, hash_key, open_admin
from pipeline.settings import Settings

DEAD_LETTER_HOURS: Final = 30 * 24
"""Dead letters are kept at least this long: somebody has to look at them."""

BROKER_RECORD_BYTES: Final = 1_048_588
"""What a broker takes unless told otherwise; a topic never takes less."""

CHECKED: Final = ("message.timestamp.type", "cleanup.policy")
"""Settings on which the rows rest: time is the broker's (law 8), and nothing but age removes a record."""

REMEMBERED_KEYS: Final = 262_144
"""Partitions of this many keys are kept (some 40 MB): Zipf-like keys are found, and a miss costs 8 us."""


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it has to be."""

    name: str
    partitions: int
    replication: int
    retention_ms: int
    record_bytes: int

    @property
    def configs(self) -> dict[str, str]:
        return {
            "message.timestamp.type": "LogAppendTime",
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.record_bytes),
            "min.insync.replicas": "2" if self.replication > 2 else "1",
        }


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """All topics: the four sources, conversations and alerts with the same partition count, dead letters with one
    partition."""
    topics = settings.topics
    hours = settings.retention_hours
    largest = max(BROKER_RECORD_BYTES, settings.record_limit + FRAMING_BYTES)

    def spec(name: str, partitions: int, hours: int, record_bytes: int) -> TopicSpec:
        return TopicSpec(name, partitions, settings.replication, hours * 3_600_000, record_bytes)

    shared = (*topics.sources, topics.conversations, topics.alerts)
    # A dead letter is the whole of a record and some headers: it must fit even where the record was of the largest
    # size.
    dead = spec(topics.dead_letters, 1, max(hours, DEAD_LETTER_HOURS), largest + FRAMING_BYTES)
    return (*(spec(name, settings.partitions, hours, largest) for name in shared), dead)


def ensure_topics(settings: Settings) -> list[str]:
    """Makes the topics that are missing and returns their names; again and again without harm.

    Raises SchemaDrift for a topic whose partition count, timestamp type or cleanup policy does not fit, before anything
    is made; Unavailable when no broker answers, Refused when it says no (too few brokers for ENGAGEMENT_REPLICATION, no
    right to create).
    """
    specs = topic_specs(settings)
    with open_admin(settings) as admin:
        check_topics(admin, specs)
        counts = admin.partition_counts()
        made = [
            spec.name
            for spec in specs
            if spec.name not in counts
            and admin.create_topic(spec.name, spec.partitions, spec.replication, spec.configs)
        ]
        if made:
            check_topics(admin, specs)
    return made


def check_topics(admin: Admin, specs: tuple[TopicSpec, ...]) -> None:
    """Raises SchemaDrift for the first topic that is there and does not fit."""
    counts = admin.partition_counts()
    there = [spec for spec in specs if spec.name in counts]
    configs = admin.topic_configs([spec.name for spec in there], CHECKED) if there else {}
    for spec in there:
        if counts[spec.name] != spec.partitions:
            raise SchemaDrift(
                f"topic {spec.name} has {counts[spec.name]} partitions, not {spec.partitions}: partition counts of "
                "live topics never "
                f"change. Set ENGAGEMENT_PARTITIONS={counts[spec.name]}, or a new ENGAGEMENT_TOPIC_PREFIX for a new "
                "set of topics"
            )
        for name in CHECKED:
            found = configs.get(spec.name, {}).get(name)
            if found is not None and found != spec.configs[name]:
                raise SchemaDrift(
                    f"topic {spec.name} has {name}={found}, not {spec.configs[name]}. If nothing in it is needed "
                    "delete the topic and "
                    f"run `engagement init`; else set a new ENGAGEMENT_TOPIC_PREFIX"
                )


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: murmur2(key) & 0x7fffffff mod n, as Kafka's own clients have it (and librdkafka by
    default has not)."""
    return _positive_hash(key) % partitions


@lru_cache(maxsize=REMEMBERED_KEYS)
def _positive_hash(key: bytes) -> int:
    return hash_key(key) & 0x7FFFFFFF
