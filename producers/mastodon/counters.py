"""Turns the counter of a status into events: each favourite and each boost is an event with a number of its own.

A counter tells how many there are, not who. So the events have no actor, and when the counter falls the newest are
taken back. A number is never used twice, hence a counter that falls and rises again is right too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Span = list[int]
"""First and last number of events that count, both included."""


@dataclass
class CounterState:
    """The numbers that count: `spans` in order. `made`: how many numbers were ever used."""

    made: int = 0
    spans: list[Span] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Returns how many events count."""
        return sum(last - first + 1 for first, last in self.spans)

    def move_to(self, count: int) -> Iterator[tuple[bool, int]]:
        """Moves the counter, and yields True and the number for each new event, False and the number for each event
        to take back."""
        here = self.count
        if count > here:
            first, last = self.made + 1, self.made + count - here
            self.made = last
            if self.spans and self.spans[-1][1] == first - 1:
                self.spans[-1][1] = last
            else:
                self.spans.append([first, last])
            for number in range(first, last + 1):
                yield True, number
            return
        for _ in range(here - count):
            span = self.spans[-1]
            yield False, span[1]
            span[1] -= 1
            if span[1] < span[0]:
                self.spans.pop()

    def dump(self) -> str:
        """Returns the state as text."""
        return json.dumps([self.made, self.spans])

    @classmethod
    def load(cls, text: str | None) -> "CounterState":
        """Returns the state of a text of `dump`; the start where None."""
        if text is None:
            return cls()
        made, spans = json.loads(text)
        return cls(made, spans)


def counter_event(status: dict[str, Any], kind: str, is_new: bool, number: int) -> dict[str, Any]:
    """Returns the event of a number of a status's counter, without time. `kind`: like or share."""
    event = {"kind": kind, "post_id": status["uri"], "actor_id": None, "channel": "mastodon"}
    name = f"{status['uri']}#{kind}-{number}"
    return event | ({"event_id": name} if is_new else {"action": "retract", "target_id": name})
