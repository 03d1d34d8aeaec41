"""The webhooks of POST /hooks/<name>: one line each, with what makes the mapper, how it is signed, its channel.

A mapper that is made of a file of mappings is one more line, or is added to the table where the collector is put
together (`make_inlets`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from producers.collector.access.signatures import STANDARD, BodySignature, SignatureScheme
from producers.collector.mappers.discourse import Discourse
from producers.collector.mappers.generic import GenericHook
from producers.collector.mappers.github import GitHub
from producers.collector.mappers.known_objects import KnownObjects
from producers.collector.mappers.port import Mapper


@dataclass(frozen=True)
class HookSpec:
    """A webhook. `channel`: of its events, where the key does not say; `summary`: for the API's page."""

    make: Callable[[KnownObjects], Mapper]
    scheme: SignatureScheme
    channel: str | None
    summary: str


HOOKS: Final[Mapping[str, HookSpec]] = {
    "github": HookSpec(
        GitHub,
        BodySignature("x-hub-signature-256"),
        "github",
        "Webhooks of GitHub: stars, forks, issues, pull requests, discussions, releases and their comments",
    ),
    "discourse": HookSpec(
        lambda _: Discourse(),
        BodySignature("x-discourse-event-signature"),
        "discourse",
        "Webhooks of Discourse: topics, posts and likes",
    ),
    "generic": HookSpec(
        lambda _: GenericHook(),
        STANDARD,
        None,
        "Webhooks by Standard Webhooks, whose data are events of the project's own format",
    ),
}
