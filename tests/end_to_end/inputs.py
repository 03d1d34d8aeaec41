"""Inputs of the tests: real cascades and simulated ones, as records to send and as the truth over them."""

import csv
import gzip
import json
import random
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.kafka.publisher import open_publisher
from pipeline.settings import Settings
from producers.simulation.policy import SimulationPolicy
from producers.simulation.records import simulated_records
from tests.truth import PostTruth, truth_of

CASCADES = "cascades/twitter15_16.ndjson.gz"
CASCADE_POSTS = "cascades/twitter15_16_posts.csv"
REFERENCE = "cascades/twitter15_16_reference.csv"
POST_ID = re.compile('"post_id": ?"([^"]*)"')

UNTIDY: dict[str, float] = {
    "retractions": 0.05,
    "duplicates": 0.05,
    "late": 0.05,
    "out_of_order": 0.05,
    "awkward": 0.03,
}
"""Shares of a simulation's events: unlikes, also early, twice and in vain; ids used twice; late events."""


@dataclass(frozen=True)
class Input:
    """Events in the order of sending."""

    events: list[dict[str, Any]]

    @cached_property
    def truth(self) -> dict[str, PostTruth]:
        return truth_of(self.events)

    def doubled(self, seed: int) -> "Input":
        """Every event twice, shuffled."""
        twice = self.events * 2
        random.Random(seed).shuffle(twice)
        return Input(twice)

    def send(self, settings: Settings) -> None:
        """Into the topics; ends when all is acked."""
        with open_publisher(settings) as publisher:
            for event in self.events:
                topic = settings.topics.of(event["kind"])
                publisher.send(topic, event["post_id"].encode(), json.dumps(event).encode())


def simulated(events: int, posts: int, seed: int = 7) -> Input:
    """A simulation with everything awkward in it."""
    policy = SimulationPolicy(events=events, posts=posts, seed=seed, **UNTIDY)  # type: ignore[arg-type]
    return Input([json.loads(record.value or b"") for record in simulated_records(policy)])


def cascades(data: Path, every: int = 1) -> Input:
    """The real cascades of every n-th post, each post before its first event; read here anew, not by what is tested."""
    posts = {row["post_id"]: _post(row) for row in _rows_of_posts(data)[::every]}
    return Input(list(_with_posts(_cascade_events(data, posts), posts)))


def part_of_cascades(data: Path, every: int, folder: Path) -> tuple[Path, Path]:
    """The files of the real cascades themselves, or such files for every n-th post in a folder: events, posts."""
    if every == 1:
        return data / CASCADES, data / CASCADE_POSTS
    rows = _rows_of_posts(data)[::every]
    with (folder / "posts.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, rows[0])
        lines.writeheader()
        lines.writerows(rows)
    with gzip.open(folder / "events.ndjson.gz", "wt", encoding="utf-8", compresslevel=1) as events:
        events.writelines(_cascade_lines(data, {row["post_id"] for row in rows}))
    return folder / "events.ndjson.gz", folder / "posts.csv"


def read_events(path: Path) -> Input:
    """A file of our own NDJSON."""
    return Input([json.loads(line) for line in path.read_bytes().splitlines()])


def reference(data: Path) -> dict[str, dict[str, str]]:
    """post_id -> its line of brute-force values."""
    with (data / REFERENCE).open(newline="", encoding="utf-8") as lines:
        return {row["post_id"]: row for row in csv.DictReader(lines)}


def _rows_of_posts(data: Path) -> list[dict[str, str]]:
    with (data / CASCADE_POSTS).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _cascade_events(data: Path, post_ids: Container[str]) -> Iterator[dict[str, Any]]:
    for line in _cascade_lines(data, post_ids):
        event = json.loads(line)
        event["kind"], event["occurred_at"] = event.pop("type"), event.pop("ts")
        yield event


def _cascade_lines(data: Path, post_ids: Container[str]) -> Iterator[str]:
    """To look at a line costs a tenth of what it costs to parse it."""
    with gzip.open(data / CASCADES, "rt", encoding="utf-8") as lines:
        for line in lines:
            if POST_ID.search(line)[1] in post_ids:  # type: ignore[index]
                yield line


def _post(row: dict[str, str]) -> dict[str, Any]:
    return {
        "event_id": f"{row['post_id']}#post",
        "kind": "post",
        "post_id": row["post_id"],
        "actor_id": row["author_id"],
        "occurred_at": row["created_at"],
        "channel": row["channel"],
    }


def _with_posts(events: Iterable[dict[str, Any]], posts: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    waiting = dict(posts)
    for event in events:
        if event["post_id"] in posts:
            if event["post_id"] in waiting:
                yield waiting.pop(event["post_id"])
            yield event
    yield from waiting.values()
