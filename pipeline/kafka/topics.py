"""The topics: created once, checked by every later `init`, and never grown.

A record of a post lies on partition murmur2(post_id) mod n of each of the four source topics, and one worker owns a
partition number in all four (law 6). With another n posts would move to other partitions while their past stays, so
adding partitions is refused; more partitions need a new set of topics under a new prefix.

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
"""Dead letters are kept at least this long, so that somebody can look at them."""

BROKER_RECORD_BYTES: Final = 1_048_588
"""The largest batch that a broker takes by default (message.max.bytes); no topic takes less."""

CHECKED: Final = ("message.timestamp.type", "cleanup.policy")
"""Topic settings that rows depend on: timestamps are the broker's (law 8), and only age removes records."""

REMEMBERED_KEYS: Final = 262_144
"""Keys whose partition is cached (some 40 MB). Frequent keys are found in the cache; a miss costs 8 us."""


@dataclass(frozen=True)
class TopicSpec:
    """A topic with the required settings."""

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
    """Returns all topics: sources, conversations and alerts with equally many partitions, dead letters with one."""
    topics = settings.topics
    hours = settings.retention_hours
    largest = max(BROKER_RECORD_BYTES, settings.record_limit + FRAMING_BYTES)

    def spec(name: str, partitions: int, hours: int, record_bytes: int) -> TopicSpec:
        return TopicSpec(name, partitions, settings.replication, hours * 3_600_000, record_bytes)

    shared = (*topics.sources, topics.conversations, topics.alerts)
    # A dead letter is a whole record with some headers, and must fit even for the largest record.
    dead = spec(topics.dead_letters, 1, max(hours, DEAD_LETTER_HOURS), largest + FRAMING_BYTES)
    return (*(spec(name, settings.partitions, hours, largest) for name in shared), dead)


def ensure_topics(settings: Settings) -> list[str]:
    """Creates the topics that are missing and returns their names; may be repeated.

    Raises SchemaDrift for a topic whose partition count, timestamp type or cleanup policy does not fit, before anything
    is created; Unavailable when no broker answers; Refused when the broker does not create a topic (too few brokers for
    ENGAGEMENT_REPLICATION, no right to create).
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
    """Raises SchemaDrift for the first existing topic that does not fit."""
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
    """Returns the partition of a key: murmur2(key) & 0x7fffffff mod n, as Kafka's own clients compute it.

    librdkafka computes another one by default.
    """
    return _positive_hash(key) % partitions


@lru_cache(maxsize=REMEMBERED_KEYS)
def _positive_hash(key: bytes) -> int:
    return hash_key(key) & 0x7FFFFFFF
