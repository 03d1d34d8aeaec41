"""Where dead letters go: the table `dead_letters` and the topic `<prefix>.dead-letters`."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters.letter import DeadLetter
from pipeline.errors import EngagementError
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.publisher_policy import PublisherPolicy
from pipeline.record_producer import RecordProducer
from pipeline.settings import Settings
from schemas.tables import DEAD_LETTERS

ACK_SECONDS: Final = 5.0
"""How long one try may wait for Kafka: the worker must be free for a rebalance soon."""

MEBIBYTE: Final = 1024 * 1024


class DeadLetterSink:
    """Buries batches of letters. Connects when first needed. Belongs to one thread, as its ClickHouse connection
    does."""

    def __init__(self, settings: Settings, producer: RecordProducer | None = None) -> None:
        self._settings, self._producer = settings, producer
        self._clickhouse = ClickHouse(settings)
        self._on_their_way: list[DeadLetter] = []

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Stores all letters; returns when they are safe in both. Raises Unavailable; again with the same letters does
        no harm.

        The table first: there a repetition replaces itself, in the topic it shows.
        """
        if not letters:
            return
        self._clickhouse.insert(DEAD_LETTERS.name, dead_letter_columns(letters))
        producer = self._producer = self._producer or open_publisher(self._settings, self._policy())
        # A try that ran out of time left its letters on their way: the next one only waits for them.
        if self._on_their_way != list(letters):
            for letter in letters:
                # A record of neither key nor value cannot be sent; whether the value was null is said by the reason.
                producer.send(self._settings.topics.dead_letters, None, letter.value or b"", headers=letter.headers)
            self._on_their_way = list(letters)
        producer.flush(ACK_SECONDS)
        self._on_their_way = []

    def close(self) -> None:
        """Ends both connections, within ACK_SECONDS. What is not safe yet belongs to a batch that is not acked: it
        comes again."""
        self._clickhouse.close()
        if self._producer is not None:
            with suppress(EngagementError):
                self._producer.close()

    def cut(self) -> None:
        """Ends what waits for ClickHouse, from another thread: that call raises Unavailable."""
        self._clickhouse.cut()

    def _policy(self) -> PublisherPolicy:
        # A dead letter may be of the largest size, and a little more.
        memory, limit = self._settings.producer_memory_mb * MEBIBYTE, self._settings.record_limit + MEBIBYTE
        return PublisherPolicy(memory, limit, block_seconds=ACK_SECONDS, close_seconds=ACK_SECONDS)


def dead_letter_columns(letters: Sequence[DeadLetter]) -> dict[str, list[object]]:
    """The columns of table `dead_letters`. A null key or value is an empty one there."""
    return {
        "topic": [letter.topic for letter in letters],
        "partition": [letter.partition for letter in letters],
        "offset": [letter.offset for letter in letters],
        "reason": [letter.reason.encode("utf-8", "replace") for letter in letters],
        "field": [letter.field.encode("utf-8", "replace") for letter in letters],
        "key": [letter.key or b"" for letter in letters],
        "bytes": [letter.value or b"" for letter in letters],
        "received_at": [letter.received_at_ms for letter in letters],
    }
