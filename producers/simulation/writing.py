"""Writing of simulated events as JSON records, in the order of sending. A loop with f-strings takes 3 us an event; all
names are made here, so nothing needs escaping."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from producers.simulation.additions import default_id
from producers.simulation.columns import COMMENT, NO_ROW, POST, Ints, SimulatedColumns
from producers.simulation.world import BRANDS, CHANNEL_NAMES, CROSSING, World, actor_names, labels_of, tag_name
from producers.source import SourceRecord
from schemas.topics import KINDS

CHUNK: Final = 50_000
"""Rows written as text at a time, which bounds memory."""


class Writer:
    """A writer of the rows of a simulation. `name`: prefix of post_ids."""

    def __init__(self, rng: np.random.Generator, columns: SimulatedColumns, world: World, name: str) -> None:
        self._columns, self._world, self._name = columns, world, name
        self._authors = world.authors
        crossing = rng.random(len(columns)) < CROSSING
        self._channel = np.where(
            crossing, rng.integers(0, len(CHANNEL_NAMES), len(columns)), world.channel[columns.post]
        )
        self._own_tag = np.where(rng.random(len(columns)) < 0.1, rng.integers(0, 10, len(columns)), -1)

    def records(self, order: Ints, occurred: Ints) -> Iterator[SourceRecord]:
        """Yields the records of `order`, rows in the order of sending, some twice. `occurred`: time of each record,
        microseconds since 1970."""
        for first in range(0, len(order), CHUNK):
            yield from self._chunk(order[first : first + CHUNK], occurred[first : first + CHUNK])

    def _chunk(self, rows: Ints, occurred: Ints) -> Iterator[SourceRecord]:
        columns, world = self._columns, self._world
        times = np.datetime_as_string(occurred.astype("datetime64[us]")).tolist()
        actors = actor_names(columns.actor[rows], self._authors)
        cells = (columns.kind, columns.post, columns.parent, columns.target, self._channel, self._own_tag)
        for row, time, actor, kind, post, parent, target, channel, tag in zip(
            rows.tolist(), times, actors, *(column[rows].tolist() for column in cells), strict=True
        ):
            post_id = f"{self._name}-{post}"
            event_id = self._id(row) if kind != POST else f"{post_id}#post"
            network = CHANNEL_NAMES[channel if kind != POST else world.channel[post]]
            text = (
                f'{{"event_id":"{event_id}","kind":"{KINDS[kind]}","post_id":"{post_id}","actor_id":"{actor}",'
                f'"occurred_at":"{time}Z","channel":"{network}"'
            )
            if parent != NO_ROW:
                text += f',"parent_id":"{self._id(parent)}"'
            if target != NO_ROW:
                text += f',"action":"retract","target_id":"{columns.targets.get(row) or self._id(target)}"'
            elif kind == POST:
                text += self._post_fields(post)
            elif row in columns.tags:
                where, name = columns.tags[row]
                text += f',"{where}s":["{name}"]'
            elif kind == COMMENT and tag >= 0:
                text += f',"hashtags":["{tag_name(tag)}"]'
            yield SourceRecord(KINDS[kind], post_id.encode(), (text + "}").encode())

    def _id(self, row: int) -> str:
        return self._columns.ids.get(row) or default_id(self._columns, row)

    def _post_fields(self, post: int) -> str:
        world = self._world
        tags = ",".join(f'"{tag_name(tag)}"' for tag in sorted({*world.tags[post].tolist()} - {-1}))
        mention = int(world.mentions[post])
        mentions = f'"{BRANDS[mention]}"' if mention >= 0 else ""
        url = f"https://example.org/{self._name}/{post}"
        text = f',"url":"{url}","hashtags":[{tags}],"mentions":[{mentions}],"followers":{world.followers[post]}'
        if (story := int(world.stories[post])) >= 0:
            came_by = CHANNEL_NAMES[world.channel[post]]
            text += f',"links":["https://news.example/{self._name}/{story}?utm_source={came_by}"]'
        labels = ",".join(f'"{key}":"{value}"' for key, value in labels_of(post, has_link=story >= 0).items())
        text += f',"labels":{{{labels}}}'
        if (quoted := int(world.quotes[post])) >= 0:
            text += f',"quotes":"{self._name}-{quoted}"'
        return text
