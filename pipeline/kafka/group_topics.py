"""Checks on the topics of a consumer group: everything about a post has one owner (law 6)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.errors import Refused


async def check_group_topics(consumer: Any, topics: Sequence[str]) -> None:
    """Raises Refused when a topic is missing, or when the topics differ in their number of partitions."""
    known = await consumer.topics()
    missing = [topic for topic in topics if topic not in known]
    if missing:
        raise Refused(f"there is no topic {', '.join(missing)}: run `engagement init`")
    counts = {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in topics}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{topic} {count}" for topic, count in counts.items())
        raise Refused(f"partition counts differ ({said}): create the topics under another ENGAGEMENT_TOPIC_PREFIX")


def torn(partitions: Iterable[tuple[str, int]], topics: Sequence[str]) -> dict[int, list[str]]:
    """Returns the partition numbers of which only some topics are assigned, with those topics.

    The events of a post in such a partition would have two owners.

    >>> torn([("a", 0), ("b", 0), ("a", 1)], ["a", "b"])
    {1: ['a']}
    """
    ours: dict[int, list[str]] = defaultdict(list)
    for topic, number in sorted(partitions):
        ours[number].append(topic)
    return {number: found for number, found in ours.items() if len(found) != len(topics)}
