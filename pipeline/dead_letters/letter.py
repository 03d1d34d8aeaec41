"""A dead letter: position, bytes and flaw of a record that could not be processed."""

from dataclasses import dataclass

from pipeline.record_producer import Headers


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record with the reason why it could not be processed.

    `field` is the dotted path of the flaw, empty for the whole record. `received_at_ms` is the time at which Kafka
    received the record, in milliseconds since 1970.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    received_at_ms: int
    reason: str
    field: str

    @property
    def headers(self) -> Headers:
        """Returns the headers of the record in topic `dead-letters`, whose value is the raw value.

        A null key has no header.
        """
        facts = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "received-at-ms": self.received_at_ms,
            "reason": self.reason,
            "field": self.field,
        }
        headers = [(name, str(fact).encode("utf-8", "replace")) for name, fact in facts.items()]
        return headers if self.key is None else [*headers, ("key", self.key)]
