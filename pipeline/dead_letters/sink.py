"""Writes dead letters to the table `dead_letters` and to the topic `<prefix>.dead-letters`."""

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
"""How long one attempt waits for acks of Kafka, so that a rebalance need not wait for longer."""

MEBIBYTE: Final = 1024 * 1024


class DeadLetterSink:
    """Writes batches of dead letters; connects with the first batch.

    Belongs to one thread, as its ClickHouse connection does; only `cut` may be called from another one.
    """

    def __init__(self, settings: Settings, producer: RecordProducer | None = None) -> None:
        self._settings, self._producer = settings, producer
        self._clickhouse = ClickHouse(settings)
        self._in_flight: list[DeadLetter] = []

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Writes the letters and returns once table and topic have them. Raises Unavailable; may be repeated.

        The table comes first: a repeated row replaces itself, while a repeated record stays in the topic.
        """
        if not letters:
            return
        self._clickhouse.insert(DEAD_LETTERS.name, dead_letter_columns(letters))
        producer = self._producer = self._producer or open_publisher(self._settings, self._policy())
        # An attempt that ran out of time has left its letters in flight: the next attempt only waits for their acks.
        if self._in_flight != list(letters):
            for letter in letters:
                # A record needs a key or a value; the reason says where the value was null.
                producer.send(self._settings.topics.dead_letters, None, letter.value or b"", headers=letter.headers)
            self._in_flight = list(letters)
        producer.flush(ACK_SECONDS)
        self._in_flight = []

    def close(self) -> None:
        """Closes both connections, within ACK_SECONDS.

        Letters that are not written yet belong to a batch that is not acked, so they come again.
        """
        self._clickhouse.close()
        if self._producer is not None:
            with suppress(EngagementError):
                self._producer.close()

    def cut(self) -> None:
        """Cuts the ClickHouse connection from another thread: a call that waits raises Unavailable."""
        self._clickhouse.cut()

    def _policy(self) -> PublisherPolicy:
        # A dead letter holds a record of the largest size and some headers.
        memory, limit = self._settings.producer_memory_mb * MEBIBYTE, self._settings.record_limit + MEBIBYTE
        return PublisherPolicy(memory, limit, block_seconds=ACK_SECONDS, close_seconds=ACK_SECONDS)


def dead_letter_columns(letters: Sequence[DeadLetter]) -> dict[str, list[object]]:
    """Returns the columns of table `dead_letters`; null keys and values become empty."""
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
