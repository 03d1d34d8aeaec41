"""Files of events into Kafka, at least once: what a replay has acked, a later one need not send again."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from pipeline.errors import CheckFailed
from pipeline.event_files import EventFile
from pipeline.outlet import Outlet
from producers.bookmark import Bookmark, FilePosition
from producers.event_lines import Parse, ParsedLine, format_of
from producers.pacing import Pace, PacePolicy
from producers.progress import Progress
from producers.summary import Summary
from schemas.events import InvalidEvent
from schemas.topics import Topics

BOOKMARK_SECONDS: Final = 2.0
"""How often a resumable replay waits for its acks and writes where it stands: at most this much is sent twice."""

REPORTED_BAD_INPUTS: Final = 20
"""Bad lines that are shown; the rest is counted."""


@dataclass(frozen=True)
class ReplayPolicy:
    """`strict`: the first bad line ends the replay. `pace`: how fast."""

    strict: bool = False
    pace: PacePolicy = field(default_factory=PacePolicy)


def replay(
    names: tuple[str, ...],
    outlet: Outlet,
    topics: Topics,
    policy: ReplayPolicy,
    *,
    posts: dict[str, ParsedLine] | None = None,
    bookmark: Bookmark | None = None,
    progress: Progress | None = None,
    complain: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Sends every event of the files in order, each post of `posts` before its first event, and waits for all acks.

    With a bookmark it starts where that stands, and keeps it. `complain` is told of bad lines, as file:line: what is
    wrong. Raises CheckFailed for a bad line where strict, Refused and Unavailable as the outlet does.
    """
    summary, started = Summary(), time.monotonic()
    waiting = dict(posts or {})
    pace = Pace(policy.pace, started) if policy.pace != PacePolicy() else None
    start = bookmark.read() if bookmark else FilePosition()
    marked = started

    def send(parsed: ParsedLine) -> None:
        kind = parsed.event["kind"]
        outlet.send(topics.of(kind), parsed.event["post_id"].encode(), parsed.value)
        summary.sent[kind] += 1

    for place, where, found in _events(names, start, summary, progress):
        if isinstance(found, InvalidEvent):
            summary.bad += 1
            if policy.strict:
                outlet.flush()
                raise CheckFailed(f"{where}: {found}; mend the line, or leave out --strict to skip such lines")
            if summary.bad <= REPORTED_BAD_INPUTS:
                complain(f"{where}: {found}")
            elif summary.bad == REPORTED_BAD_INPUTS + 1:
                complain("more bad lines are only counted")
        else:
            if pace is not None:
                _wait(pace, found)
            if waiting and (post := waiting.pop(found.event["post_id"], None)) is not None:
                send(post)
            send(found)
        if bookmark is not None and time.monotonic() - marked > BOOKMARK_SECONDS:
            outlet.flush()
            bookmark.write(place)
            marked = time.monotonic()
    for post in waiting.values():
        send(post)
    outlet.flush()
    if bookmark is not None:
        bookmark.remove()
    summary.seconds = time.monotonic() - started
    return summary


def _events(
    names: tuple[str, ...], start: FilePosition, summary: Summary, progress: Progress | None
) -> Iterator[tuple[FilePosition, str, ParsedLine | InvalidEvent]]:
    """Every line from `start` on: its place, its name for people, and what it holds."""
    for number, name in enumerate(names):
        if number < start.file:
            continue
        parse: Parse | None = None
        file = EventFile(name)
        for line_number, line in file.lines():
            parse = parse or format_of(line)
            if progress is not None and line_number % 500 == 0:
                progress.show(summary.sent.total(), file.fraction)
            if number == start.file and line_number <= start.line:
                summary.skipped += 1
                continue
            try:
                found: ParsedLine | InvalidEvent = parse(line)
            except InvalidEvent as error:
                found = error
            yield FilePosition(number, line_number), f"{name}:{line_number}", found


def _wait(pace: Pace, parsed: ParsedLine) -> None:
    delay = pace.delay(time.monotonic(), parsed.event["occurred_at"].timestamp())
    if delay > 0:
        time.sleep(delay)
