"""Brings dead letters of sources into the table `dead_letters`.

A source writes to Kafka alone: its letters lie in the topic `dead-letters` with a header `source`. Those of workers are
in the table already. The commands that read letters call `adopt_letters` first.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters.letter import DeadLetter
from pipeline.dead_letters.sink import dead_letter_columns
from pipeline.errors import Refused, Unavailable
from pipeline.privacy.erased_hashes import load_erasure_key
from pipeline.privacy.erasure_store import ErasureStore
from pipeline.settings import Settings
from pipeline.topic_reader import TopicRecord, follow_topic
from schemas.tables import DEAD_LETTERS

SOURCE_HEADER: Final = "source"
CHUNK_LETTERS: Final = 1000

QUIET_POLLS: Final = 2
"""Polls without a record, each of a second, after which the topic counts as read."""


def adopt_letters(settings: Settings, clickhouse: ClickHouse) -> int:
    """Copies the letters of sources that are not in the table yet, and returns their number. Blocks for some seconds.

    A letter has the position of its record in the topic `dead-letters`, so that a repeated copy replaces itself.
    Letters that name an erased person are left out. Raises SettingsError for a missing ENGAGEMENT_ERASURE_KEY,
    Unavailable for ClickHouse; does nothing where Kafka or the topic is away.
    """
    topic = settings.topics.dead_letters
    rows = clickhouse.select(
        f"SELECT partition, max(offset) + 1 FROM {DEAD_LETTERS.name} WHERE topic = %(topic)s GROUP BY partition",
        {"topic": topic},
    )
    start = dict(zip(*rows, strict=True)) if rows else {}
    letters = _letters(settings, topic, {int(partition): int(offset) for partition, offset in start.items()})
    erased = ErasureStore(clickhouse).hashes(load_erasure_key(settings))
    kept = (letter for letter in letters if not erased.names(letter.value, letter.reason.encode()))
    count = 0
    while chunk := list(islice(kept, CHUNK_LETTERS)):
        clickhouse.insert(DEAD_LETTERS.name, dead_letter_columns(chunk))
        count += len(chunk)
    return count


def _letters(settings: Settings, topic: str, start: Mapping[int, int]) -> Iterator[DeadLetter]:
    try:
        yield from _letters_from(settings, topic, start)
    except Refused:  # records behind the stored position are deleted: begin at the oldest
        yield from _letters_from(settings, topic, {})
    except Unavailable:
        return


def _letters_from(settings: Settings, topic: str, start: Mapping[int, int]) -> Iterator[DeadLetter]:
    quiet = 0
    for record in follow_topic(settings, topic, start):
        quiet = quiet + 1 if record is None else 0
        if quiet == QUIET_POLLS:
            return
        if record is not None and (letter := _letter_of(record)) is not None:
            yield letter


def _letter_of(record: TopicRecord) -> DeadLetter | None:
    """Returns the letter in a record of a source; None for a letter of a worker."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    if SOURCE_HEADER not in headers:
        return None
    return DeadLetter(
        record.topic,
        record.partition,
        record.offset,
        None,
        record.value,
        record.timestamp,
        f"{headers.get('reason', '')} ({headers[SOURCE_HEADER]})",
        headers.get("field", ""),
    )
