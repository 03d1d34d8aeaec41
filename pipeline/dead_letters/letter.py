"""One dead letter: where it lay, what it was, byte for byte, and why it could not be taken."""

from dataclasses import dataclass

from pipeline.record_producer import Headers


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`field` is where the flaw is, dotted; empty: the whole record. `received_at_ms`: when Kafka took it, ms since
    1970."""

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
        """The facts, as the topic `dead-letters` carries them beside the raw bytes of the value. A key that was null
        has no header."""
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
