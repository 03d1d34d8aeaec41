"""Replay: files of events, at least once. A resumed replay goes on behind the last acked line."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from pipeline.command_group import FiniteRange
from pipeline.errors import Refused
from pipeline.files.flaws import Flaw
from pipeline.files.opening import check_inputs, is_regular
from pipeline.files.options import ENCODING_OPTION, STRICT_OPTION, reading
from pipeline.files.text_file import DEFAULT_READING, ReadPolicy, TextFile
from pipeline.settings import Settings, load_settings
from producers.bookmark import Bookmark
from producers.bookmarked_files import BookmarkedFiles
from producers.command import JSON_OPTION, RATE_OPTION, print_summary, send_to_kafka
from producers.event_lines import ParsedLine, PostTable, parse_line, read_post_csv
from producers.pacing import PacePolicy
from producers.sending import SendPolicy
from producers.source import SKIPPED, BadInput, SourceItem, SourceRecord
from producers.state_files import default_state_file
from schemas.events import InvalidEvent


class ReplaySource(BookmarkedFiles):
    """The events of files in order, each post of `posts` before its first event."""

    verb = "replayed"

    def __init__(
        self,
        names: tuple[str, ...],
        posts: PostTable | None = None,
        bookmark: Bookmark | None = None,
        policy: ReadPolicy = DEFAULT_READING,
    ) -> None:
        super().__init__(names, bookmark)
        self._posts, self._policy = posts or PostTable(), policy
        self._file: TextFile | None = None

    def items(self) -> Iterator[SourceItem]:
        unsent_files = list(self._unsent_files())
        yield from self._posts.bad
        unsent_posts = dict(self._posts.posts)
        for number, sent_lines in unsent_files:
            yield from self._items_of_file(number, sent_lines, unsent_posts)
        for post in unsent_posts.values():
            yield _record(post, goes_along=True)

    @property
    def fraction(self) -> float | None:
        return None if self._file is None else self._file.fraction

    def _items_of_file(self, number: int, sent_lines: int, unsent_posts: dict[str, ParsedLine]) -> Iterator[SourceItem]:
        """Yields the items of file `number`, whose first `sent_lines` lines an earlier replay has sent."""
        name = self._names[number]
        self._file = TextFile(name, self._policy)
        for line_number, line in self._file.filled_lines():
            if line_number <= sent_lines:
                self.has_events = True
                yield SKIPPED
                continue
            place = f"{name}:{line_number}"
            try:
                parsed = parse_line(line) if isinstance(line, bytes) else line
            except InvalidEvent as error:
                parsed = Flaw(str(error))
            if isinstance(parsed, Flaw):
                self._position = (number, line_number)
                yield BadInput(place, parsed.reason)
                continue
            self.has_events = True
            post = unsent_posts.pop(parsed.event["post_id"], None) if unsent_posts else None
            if post is not None:
                yield _record(post, parsed.event["occurred_at"])
            self._position = (number, line_number)
            yield _record(parsed, parsed.event["occurred_at"], goes_along=post is not None, place=place)


def _record(
    parsed: ParsedLine, occurred: datetime | None = None, goes_along: bool = False, place: str = ""
) -> SourceRecord:
    return SourceRecord(
        parsed.event["kind"],
        parsed.event["post_id"].encode(),
        parsed.value,
        occurred,
        goes_along,
        place=place or parsed.place,
    )


@click.command("replay")
@click.argument("events", nargs=-1, required=True)
@click.option(
    "--posts", type=click.Path(path_type=Path), help="CSV: post_id,author_id,created_at,channel; sent as post events."
)
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True),
    help="Seconds of event time a second; as fast as it can without.",
)
@RATE_OPTION
@click.option(
    "--resume", is_flag=True, help="Go on where the last --resume of these files stopped, and keep a bookmark."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="The bookmark's file; by default one below ~/.local/state/engagement.",
)
@STRICT_OPTION
@ENCODING_OPTION
@JSON_OPTION
def replay_files(
    events: tuple[str, ...],
    posts: Path | None,
    speed: float | None,
    rate: float | None,
    resume: bool,
    state: Path | None,
    strict: bool,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Send files of EVENTS (- is stdin) into Kafka: our NDJSON or the cascades format, plain or gzipped.

    Lines that are no events are named, left out and counted. Exits with 1 where no line of any file is an event, or
    with --strict at the first that is none.

    \b
    Example: engagement replay cascades.ndjson.gz --posts posts.csv --resume
    """
    settings = load_settings()
    if state is not None and not resume:
        raise click.UsageError("--state is the bookmark of --resume; add --resume")
    check_inputs([*events, *([posts] if posts is not None else [])])
    if resume and not all(map(is_regular, events)):
        raise click.UsageError("--resume needs files: standard input or a pipe cannot be read again")
    policy = reading(encoding, settings.record_limit)
    bookmark = Bookmark(state or default_state(settings, events), events) if resume else None
    source = ReplaySource(events, read_post_csv(posts, policy) if posts is not None else None, bookmark, policy)
    summary = send_to_kafka(source, settings, SendPolicy(strict, PacePolicy(rate, speed)))
    print_summary(summary, as_json)
    if not source.has_events:
        raise Refused(f"{', '.join(events)}: no event in the files; name files of events, an event a line")


def default_state(settings: Settings, events: tuple[str, ...]) -> Path:
    """Returns the file of the bookmark: one for each set of files, cluster and topic prefix."""
    return default_state_file(settings, "replay", ".json", *(str(Path(name).resolve()) for name in events))
