"""Events of erased people that come again, from Kafka or a file: they are left out, and what other events say of erased
people is left out of these."""

import re
from collections.abc import Iterable
from itertools import compress
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.observability.metrics import WorkerMetrics
from pipeline.privacy.erased_hashes import ErasedHashes
from processors.columnar.arrays import Array
from processors.engagement.decoding import DecodedEvents, DecodingPolicy, decode_events
from processors.engagement.fold.columns import EventColumns
from processors.engagement.outcomes import count_erased
from processors.engagement.rows.post_facts import MENTION
from processors.runtime.records import Run
from schemas.folding import fold_tag

STANDS_FOR: Final = "[erased]"
"""The words that take the place of an erased account in a text of somebody else."""

_WORD: Final = re.compile(r"@?\w(?:[\w.:@-]*\w)?")


class FilteredEvents(NamedTuple):
    """Events without those of erased people, and which of the given events stayed."""

    events: EventColumns
    stays: Array


def decode_unerased(
    runs: Iterable[Run], policy: DecodingPolicy, erased: ErasedHashes, metrics: WorkerMetrics
) -> DecodedEvents:
    """Decodes runs and leaves out events of erased people, which are counted and not kept: a dead letter would keep the
    name. Never raises, whatever a record holds."""
    decoded = decode_events(runs, policy)
    if not erased:
        return decoded
    events, stays = without_erased(decoded.events, erased)
    count_erased(metrics, decoded.events.kind[~stays])
    flags = stays.tolist()
    letters = [letter for letter in decoded.dead if not erased.names(letter.key, letter.value)]
    metrics.count_events("unknown", "erased", len(decoded.dead) - len(letters))
    return DecodedEvents(events, list(compress(decoded.runs, flags)), list(compress(decoded.records, flags)), letters)


def without_erased(events: EventColumns, erased: ErasedHashes) -> FilteredEvents:
    """Leaves out events by erased people, of erased authors and on erased posts. In the other events, ids that named an
    erased person are replaced, and mentions, quotes and addresses of erased people removed."""
    stays = ~(
        erased.actors(events.actor_id, events.channel)
        | (np.array(list(map(bool, events.author_id)), np.bool_) & erased.actors(events.author_id, events.channel))
        | _posts(events.post_id, erased)
    )
    events = events.where(stays)
    events.event_id = erased.other_ids(events.event_id)
    events.parent_id = erased.other_ids(events.parent_id)
    events.target_id = erased.other_ids(events.target_id)
    if any(events.quotes):
        gone = erased.are("post", events.quotes) | erased.are("id", events.quotes)
        events.quotes = [
            "" if is_gone else quoted for quoted, is_gone in zip(events.quotes, gone.tolist(), strict=True)
        ]
    if any(events.links):
        events.links = [_without_accounts(links, erased) if links else links for links in events.links]
    if any(events.url):
        gone = erased.with_accounts(events.url).tolist()
        events.url = ["" if is_gone else url for url, is_gone in zip(events.url, gone, strict=True)]
    if any(events.text):
        events.text = [_without_names(text, erased) if text else text for text in events.text]
    if erased.count("mention"):
        events.conversations = [_without_mentions(keys, erased) if keys else keys for keys in events.conversations]
    return FilteredEvents(events, stays)


def _posts(post_ids: list[str], erased: ErasedHashes) -> Any:
    # A post of which nothing has come yet may have an id made of the name of its author: at://<account>/...
    distinct = list(dict.fromkeys(post_ids))
    is_gone = (erased.are("post", distinct) | erased.with_accounts(distinct)).tolist()
    gone = {post_id for post_id, is_erased in zip(distinct, is_gone, strict=True) if is_erased}
    return np.array([post_id in gone for post_id in post_ids], np.bool_)


def _without_accounts(links: list[str], erased: ErasedHashes) -> list[str]:
    gone = erased.with_accounts(links).tolist()
    return [link for link, is_gone in zip(links, gone, strict=True) if not is_gone]


def _without_names(text: str, erased: ErasedHashes) -> str:
    words = list(dict.fromkeys(_WORD.findall(text)))
    gone = (erased.are("actor", words) | erased.are("mention", [fold_tag(word, "@") for word in words])).tolist()
    left_out = {word for word, is_gone in zip(words, gone, strict=True) if is_gone}
    return _WORD.sub(lambda word: STANDS_FOR if word[0] in left_out else word[0], text) if left_out else text


def _without_mentions(keys: list[str], erased: ErasedHashes) -> list[str]:
    mentions = [key for key in keys if key.startswith(MENTION)]
    if not mentions:
        return keys
    gone = erased.are("mention", [key.removeprefix(MENTION) for key in mentions]).tolist()
    left_out = {key for key, is_gone in zip(mentions, gone, strict=True) if is_gone}
    return [key for key in keys if key not in left_out] if left_out else keys
