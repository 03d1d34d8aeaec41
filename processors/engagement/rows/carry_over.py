"""Rows of carry_over: the messages (addresses and quoted posts) that tie posts of different channels together."""

from collections.abc import Mapping
from typing import Any, Final

from pipeline.canonical_url import canonical_url
from processors.columnar.arrays import Array
from processors.engagement.rows.post_facts import Facts, PostEvent
from processors.engagement.state import OwnEvents

_COLUMNS: Final = ("message", "post_id", "channel", "created_at", "is_current", "version")


def carried(event: PostEvent | Facts) -> list[str]:
    """Returns the messages of a post, each once: its own address and those of its links in canonical spelling, then the
    post that it quotes."""
    addresses = [canonical_url(address) for address in (event.url, *event.links) if address]
    messages = [f"url:{address}" for address in addresses if address]
    return list(dict.fromkeys([*messages, f"post:{event.quotes}"] if event.quotes else messages))


def carry_over(said: Mapping[str, OwnEvents], versions: Array) -> dict[str, Any]:
    """Rows for every message that any event of these posts names; it is current while its newest event names it and the
    post stands. `versions` of the posts."""
    rows = []
    for (post_id, (facts, adds)), version in zip(said.items(), versions.tolist(), strict=True):
        newest = carried(facts)
        current = newest if facts.deleted_at is None else []
        # To spell an address costs 20 us, and most posts have one event.
        ever = dict.fromkeys([*newest, *(message for add in adds if len(adds) > 1 for message in carried(add))])
        rows += [
            (message, post_id, facts.channel, facts.created_at, int(message in current), version) for message in ever
        ]
    columns = zip(*rows, strict=True) if rows else [()] * len(_COLUMNS)
    return {name: list(values) for name, values in zip(_COLUMNS, columns, strict=True)}
