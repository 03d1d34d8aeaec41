"""The contract of a source, for every source of the table: valid events in a repeatable order, bad input with its
place, and a position to go on from where the source says so.

A new source needs an example here: how it is opened, with bad input where it can have some.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from typing import Any, ClassVar

import fakes_bluesky
import pytest
from click.testing import CliRunner
from fakes_kafka import FakeRecordProducer
from mastodon_server import MastodonWorld

from pipeline.cli import all_commands, engagement, load_attribute
from pipeline.errors import CheckFailed
from pipeline.kafka.topics import partition_of
from producers import sending, sources
from producers.bookmark import Bookmark
from producers.destinations import KafkaDestination
from producers.mapping.file_import import FileImport
from producers.mapping.mapper import load_map
from producers.mapping.shipped import find_map
from producers.mastodon.polling import MastodonSource, PollPolicy
from producers.mastodon.tracked import TrackedStatuses
from producers.sending import SendPolicy, send_all
from producers.simulation.policy import SimulationPolicy
from producers.source import SKIPPED, BadInput, Source, SourceRecord
from producers.sources import SOURCES
from producers.sources.replay import ReplaySource
from producers.sources.simulate import SimulationSource
from schemas.events import parse_event
from schemas.topics import Topics

TOPICS = Topics()


@dataclass(frozen=True)
class Example:
    """How a source is opened on the files of a folder. `bad`: the source with bad input, and the places of it."""

    open: Callable[[Path], Source]
    bad: Callable[[Path], tuple[Source, list[str]]] | None = None


def replay_files(folder: Path, bad: bool = False) -> tuple[str, ...]:
    names = []
    for file in range(2):
        lines = [
            f'{{"event_id":"e{file}-{n}","kind":"share","post_id":"p{n % 7}","actor_id":"u{n}",'
            f'"occurred_at":"2026-01-01T00:00:{n % 60:02d}Z"}}'
            for n in range(30)
        ]
        if bad:
            lines[4] = "{"
        (folder / f"{file}.ndjson").write_text("\n".join(lines) + "\n")
        names.append(str(folder / f"{file}.ndjson"))
    return tuple(names)


def open_replay(folder: Path) -> Source:
    names = replay_files(folder)
    return ReplaySource(names, bookmark=Bookmark(folder / "bookmark.json", names))


def open_bad_replay(folder: Path) -> tuple[Source, list[str]]:
    names = replay_files(folder, bad=True)
    return ReplaySource(names), [f"{name}:5" for name in names]


def bluesky_frames(folder: Path) -> list[Any]:
    frames: list[Any] = [fakes_bluesky.post("ana", "p0")]
    post = fakes_bluesky.uri("ana", fakes_bluesky.POST, "p0")
    frames += [fakes_bluesky.like(f"u{n}", "l", post, at=n) for n in range(70)]
    return frames


def open_bluesky(folder: Path) -> Source:
    return fakes_bluesky.open_source(folder, bluesky_frames(folder))


def open_bad_bluesky(folder: Path) -> tuple[Source, list[str]]:
    frames = bluesky_frames(folder)
    frames[5:5] = ["<html>", frames[3] | {"time_us": None}]
    return fakes_bluesky.open_source(folder, frames), [fakes_bluesky.V1.url] * 2


def archive_files(folder: Path, bad: bool = False) -> tuple[str, ...]:
    names = []
    for file in range(2):
        rows = [
            {
                "id": f"{file}-{n}",
                "type": "WatchEvent",
                "actor": {"id": n, "login": f"u{n}"},
                "repo": {"id": n % 7, "name": f"a/b{n % 7}"},
                "payload": {"action": "started"},
                "created_at": f"2026-01-01T00:00:{n:02d}Z",
            }
            for n in range(40)
        ]
        rows[9]["type"] = "PushEvent"
        lines = list(map(json.dumps, rows))
        if bad:
            lines[4] = "{"
        (folder / f"2026-01-01-{file}.json").write_text("\n".join(lines) + "\n")
        names.append(str(folder / f"2026-01-01-{file}.json"))
    return tuple(names)


def open_import(folder: Path) -> Source:
    names = archive_files(folder)
    return FileImport(names, load_map(find_map("gharchive")), Bookmark(folder / "bookmark.json", names))


def open_bad_import(folder: Path) -> tuple[Source, list[str]]:
    names = archive_files(folder, bad=True)
    return FileImport(names, load_map(find_map("gharchive"))), [f"{name}:5" for name in names]


class Statuses:
    """A server of Mastodon whose timeline has some statuses, and which has no other answers."""

    def __init__(self, statuses: list[Any]) -> None:
        self._statuses = statuses

    def timeline(self, name: str, after: str | None) -> list[Any]:
        return [status for status in self._statuses if after is None or int(status["id"]) > int(after)][:40]

    def statuses(self, ids: Any) -> list[Any]:
        return []

    def context(self, status_id: str) -> tuple[list[Any], list[Any]]:
        return [], []


class HandedOver(TrackedStatuses):
    """The statuses of a process that ends when the next one begins."""

    holders: ClassVar[dict[Path, TrackedStatuses]] = {}

    def begin(self) -> None:
        if self._path in self.holders:
            self.holders[self._path].close()
        self.holders[self._path] = self
        super().begin()


def open_mastodon(folder: Path, spoilt: tuple[int, ...] = ()) -> Source:
    world = MastodonWorld()
    for number in range(70):
        world.write(f"u{number}", favourites_count=number % 3)
    statuses = list(world.statuses.values())
    for number in spoilt:
        del statuses[number]["account"]
    tracked = HandedOver(folder / "state.sqlite")
    policy = PollPolicy(("public",), rounds=1)
    return MastodonSource(Statuses(statuses), tracked, policy, clock=lambda: 1.77e9, sleep=lambda _: None)


def open_bad_mastodon(folder: Path) -> tuple[Source, list[str]]:
    spoilt = (3, 50)
    return open_mastodon(folder, spoilt), [f"status https://server.example/users/u{number}/" for number in spoilt]


EXAMPLES = {
    "gharchive": Example(open_import, open_bad_import),
    "import": Example(open_import, open_bad_import),
    "mastodon": Example(open_mastodon, open_bad_mastodon),
    "simulate": Example(lambda folder: SimulationSource(SimulationPolicy(300, 20, malformed=0.1, duplicates=0.1))),
    "replay": Example(open_replay, open_bad_replay),
    "bluesky": Example(open_bluesky, open_bad_bluesky),
}


@pytest.fixture(params=SOURCES)
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


def to_kafka(producer: FakeRecordProducer) -> KafkaDestination:
    return KafkaDestination(producer, TOPICS, producer.partitions)


def test_every_source_is_a_command_in_a_file_of_its_own() -> None:
    assert EXAMPLES.keys() == SOURCES.keys() <= all_commands().keys()
    assert {file.stem.rstrip("_") for file in Path(sources.__file__).parent.glob("[a-z]*.py")} == SOURCES.keys()
    for name, (place, _) in SOURCES.items():
        command = load_attribute(place)
        assert place.split(":")[0] == f"producers.sources.{name}" + "_" * iskeyword(name)
        assert command.name == name
        assert {"--rate", "--json"} <= {option for each in command.params for option in each.opts}
        assert CliRunner().invoke(engagement, [name, "--no-such-option"]).exit_code == 2


def test_records_are_events_with_the_key_of_their_post(example: Example, tmp_path: Path) -> None:
    records = [item for item in example.open(tmp_path).items() if isinstance(item, SourceRecord)]
    events = [record for record in records if record.is_event]
    assert len(events) >= 60
    for record in events:
        event = parse_event(record.value or b"")
        assert (record.kind, record.key) == (event["kind"], event["post_id"].encode())
        assert record.occurred in (None, event["occurred_at"])
        assert record.partition_shift == 0


def test_the_same_input_gives_the_same_items(example: Example, tmp_path: Path) -> None:
    assert list(example.open(tmp_path).items()) == list(example.open(tmp_path).items())


def test_the_loop_sends_all_and_counts_by_kind(example: Example, tmp_path: Path) -> None:
    items = [item for item in example.open(tmp_path).items() if isinstance(item, SourceRecord)]
    producer = FakeRecordProducer()
    summary = send_all(example.open(tmp_path), to_kafka(producer))
    assert [(topic, key, value) for topic, _, key, value, _ in producer.sent] == [
        (TOPICS.of(item.kind), item.key, item.value) for item in items
    ]
    for item, (_, partition, key, *_) in zip(items, producer.sent, strict=True):
        assert (partition == partition_of(key or b"", producer.partitions)) == (item.partition_shift == 0)
    assert summary.sent == Counter(item.kind for item in items if item.is_event)
    assert summary.malformed == sum(not item.is_event for item in items)
    assert (summary.bad, summary.skipped) == (0, 0)


def test_the_fraction_lies_between_nothing_and_all(example: Example, tmp_path: Path) -> None:
    source = example.open(tmp_path)
    fractions = [source.fraction for _ in source.items()]
    assert all(fraction is None or 0 <= fraction <= 1 for fraction in fractions)


def test_bad_input_is_counted_and_its_place_is_named(example: Example, tmp_path: Path) -> None:
    if example.bad is None:
        assert not any(isinstance(item, BadInput) for item in example.open(tmp_path).items())
        return
    source, places = example.bad(tmp_path)
    complaints: list[str] = []
    producer = FakeRecordProducer()
    summary = send_all(source, to_kafka(producer), complain=complaints.append)
    assert summary.bad == len(places) > 0
    dead = [value for topic, _, _, value, _ in producer.sent if topic == TOPICS.dead_letters]
    assert len(dead) in (0, summary.bad), "inputs that cannot be read again are kept"
    assert bool(dead) == source.is_live
    assert len(producer.sent) - len(dead) == summary.sent.total() > 0
    assert [text[: len(place)] for text, place in zip(complaints, places, strict=True)] == places
    assert all(len(text) > len(place) + 4 for text, place in zip(complaints, places, strict=True))


def test_strict_ends_at_the_first_bad_input(example: Example, tmp_path: Path) -> None:
    if example.bad is None:
        return
    producer = FakeRecordProducer()
    sent_when_flushed: list[int] = []

    class Flushed(KafkaDestination):
        def flush(self) -> None:
            super().flush()
            sent_when_flushed.append(len(producer.sent))

    source, places = example.bad(tmp_path)
    with pytest.raises(CheckFailed) as caught:
        send_all(source, Flushed(producer, TOPICS, producer.partitions), SendPolicy(strict=True))
    assert str(caught.value).startswith(places[0])
    source, _ = example.bad(tmp_path)
    before = 0
    for item in source.items():
        if isinstance(item, BadInput):
            break
        before += 1
    assert sent_when_flushed == [before + source.is_live], "what was sent before the bad input is acked"


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("kill_after", [1, 17, 30, 31, 47])
def test_a_resumable_source_goes_on_behind_the_last_acked_record(
    example: Example, tmp_path: Path, kill_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SAVE_SECONDS", -1.0)  # a position is saved behind every item
    source = example.open(tmp_path)
    if not source.is_resumable:
        for refused in (source.save_position, source.forget_position):
            with pytest.raises(NotImplementedError):
                refused()
        return
    expected = [item.value for item in example.open(tmp_path).items() if isinstance(item, SourceRecord)]
    first, second = FakeRecordProducer(), FakeRecordProducer()

    class Dying(KafkaDestination):
        def add(self, record: SourceRecord) -> None:
            if len(first.sent) == kill_after:
                raise Killed
            super().add(record)

    with pytest.raises(Killed):
        send_all(source, Dying(first, TOPICS, first.partitions))
    summary = send_all(example.open(tmp_path), to_kafka(second))
    if source.is_live:
        # The network repeats some seconds; a run is never done, so its position stays.
        sent = [value for *_, value, _ in second.sent]
        assert [value for *_, value, _ in first.sent] == expected[:kill_after]
        assert sent == expected[len(expected) - len(sent) :]
        assert len(sent) >= len(expected) - kill_after
        assert len(list(example.open(tmp_path).items())) < len(expected) / 5
        return
    assert [value for *_, value, _ in first.sent + second.sent] == expected
    assert summary.skipped > 0
    assert SKIPPED not in list(example.open(tmp_path).items()), "a run that is done leaves no position"
