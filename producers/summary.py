"""The summary of a producer's run."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Summary:
    """Counts of a run. `sent`: events by kind; `bad`: inputs that were no events; `skipped`: inputs that an earlier run
    has sent; `malformed`: records spoilt on purpose, not in `sent`. `seconds`: wall time until the last ack. `notes`:
    counts of the source's own."""

    sent: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    skipped: int = 0
    malformed: int = 0
    seconds: float = 0.0
    notes: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary as --json prints it."""
        total = self.sent.total()
        notes = {"notes": dict(sorted(self.notes.items()))} if self.notes else {}
        return {
            "sent": dict(sorted(self.sent.items())),
            "total": total,
            "bad_lines": self.bad,
            "skipped_lines": self.skipped,
            "malformed": self.malformed,
            "seconds": round(self.seconds, 3),
            "per_second": round(total / self.seconds, 1) if self.seconds else 0.0,
            **notes,
        }
