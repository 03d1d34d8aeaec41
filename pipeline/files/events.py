"""The two formats of event files, told line by line.

A line of the cascades format has `type` and `ts` for `kind` and `occurred_at`. No line decides for others, so that a
bad first line costs one line, and files of both formats may be joined.
"""

from typing import Final

CASCADE_FIELDS: Final = {"type": "kind", "ts": "occurred_at"}
"""Our names of the fields that the cascades format names otherwise."""

OUR_FIELDS: Final = {ours: name for name, ours in CASCADE_FIELDS.items()}


def is_cascade(line: bytes) -> bool:
    """Tells whether a line of JSON is of the cascades format, by the names of fields, without parsing."""
    return b'"ts"' in line and b'"type"' in line and not (b'"kind"' in line and b'"occurred_at"' in line)
