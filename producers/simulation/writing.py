"""Columns into JSON, in the order of sending. One loop and f-strings: 3 us an event; names are ours, so nothing needs
escaping."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from producers.simulation.additions import default_id
from producers.simulation.columns import NONE, Columns, Ints
from producers.simulation.record import Record
from producers.simulation.world import BRANDS, CHANNELS, CROSSING, World, actor_names, tag_name
from schemas.topics import KINDS

CHUNK: Final = 50_000
"""Rows that are made into text at a time: bounds memory."""


class Writer:
    """Writes rows of one simulation. `name` is the prefix of its posts."""

    def __init__(self, rng: np.random.Generator, columns: Columns, world: World, name: str) -> None:
        self._columns, self._world, self._name = columns, world, name
        self._authors = int(world.author.max()) + 1
        crossing = rng.random(len(columns)) < CROSSING
        self._channel = np.where(crossing, rng.integers(0, len(CHANNELS), len(columns)), world.channel[columns.post])
        self._own_tag = np.where(rng.random(len(columns)) < 0.1, rng.integers(0, 10, len(columns)), -1)

    def records(self, order: Ints, occurred: Ints) -> Iterator[Record]:
        """`order`: rows, in the order of sending, some twice; `occurred`: what each of them says, microseconds since
        1970."""
        for first in range(0, len(order), CHUNK):
            yield from self._chunk(order[first : first + CHUNK], occurred[first : first + CHUNK])

    def _chunk(self, rows: Ints, occurred: Ints) -> Iterator[Record]:
        columns, world = self._columns, self._world
        times = np.datetime_as_string(occurred.astype("datetime64[us]")).tolist()
        actors = actor_names(columns.actor[rows], self._authors)
        cells = (columns.kind, columns.post, columns.parent, columns.target, self._channel, self._own_tag)
        for row, time, actor, kind, post, parent, target, channel, tag in zip(
            rows.tolist(), times, actors, *(column[rows].tolist() for column in cells), strict=True
        ):
            post_id = f"{self._name}-{post}"
            event_id = self._id(row) if kind else f"{post_id}#post"
            network = CHANNELS[channel if kind else world.channel[post]]
            said = (
                f'{{"event_id":"{event_id}","kind":"{KINDS[kind]}","post_id":"{post_id}","actor_id":"{actor}",'
                f'"occurred_at":"{time}Z","channel":"{network}"'
            )
            if parent != NONE:
                said += f',"parent_id":"{self._id(parent)}"'
            if target != NONE:
                said += f',"action":"retract","target_id":"{columns.targets.get(row) or self._id(target)}"'
            elif kind == 0:
                said += self._post_fields(post)
            elif row in columns.tags:
                where, name = columns.tags[row]
                said += f',"{where}s":["{name}"]'
            elif kind == 3 and tag >= 0:
                said += f',"hashtags":["{tag_name(tag)}"]'
            yield Record(KINDS[kind], post_id.encode(), (said + "}").encode())

    def _id(self, row: int) -> str:
        return self._columns.ids.get(row) or default_id(self._columns, row)

    def _post_fields(self, post: int) -> str:
        world = self._world
        tags = ",".join(f'"{tag_name(tag)}"' for tag in sorted({*world.tags[post].tolist()} - {-1}))
        mention = int(world.mentions[post])
        mentions = f'"{BRANDS[mention]}"' if mention >= 0 else ""
        url = f"https://example.org/{self._name}/{post}"
        return f',"url":"{url}","hashtags":[{tags}],"mentions":[{mentions}],"followers":{world.followers[post]}'
