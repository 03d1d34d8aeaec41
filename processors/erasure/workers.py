"""Waits until all workers have taken up a step of an erasure."""

import time
from collections.abc import Callable
from typing import Final

from pipeline.errors import CheckFailed, Unavailable
from pipeline.kafka.client import Admin, open_admin
from pipeline.privacy.erasure_store import ErasureStore
from pipeline.settings import Settings
from processors.unread import CONNECT_SECONDS
from processors.worker import AGENTS, AgentSpec

TAKING_UP: Final = ("engagement", "conversations")
"""The agents that keep people's events, or what follows from these, in memory."""

_LOOK_SECONDS: Final = 0.1


def wait_for_workers(
    settings: Settings, store: ErasureStore, epoch: int, seconds: float, say: Callable[[str], None]
) -> None:
    """Blocks until the owner of each partition has taken up a step; a group without members has no owners. Raises
    CheckFailed after `seconds`, Unavailable where Kafka or ClickHouse does not answer."""
    until, said = time.monotonic() + seconds, time.monotonic()
    with open_admin(settings, CONNECT_SECONDS) as admin:
        counts = admin.partition_counts()
        for spec in (spec for spec in AGENTS if spec.name in TAKING_UP):
            partitions = counts.get(next(iter(spec.kinds(settings.topics))), 0)
            while (behind := store.behind(spec.name, partitions, epoch)) and _has_members(admin, spec, settings):
                now = time.monotonic()
                if now >= until:
                    raise CheckFailed(
                        f"the owners of {len(behind)} partitions of the agent {spec.name} have not taken up the "
                        f"erasure after {seconds:g} s: end workers that hang (/readyz says why), and run it again"
                    )
                if now - said >= 5:
                    said = now
                    say(f"waiting for workers: {len(behind)} partitions of the agent {spec.name}")
                time.sleep(_LOOK_SECONDS)


def _has_members(admin: Admin, spec: AgentSpec, settings: Settings) -> bool:
    group = spec.group(settings.topics)
    try:
        return admin.has_members(group)
    except Unavailable:  # the broker makes the group's coordinator when it is asked for the first time
        time.sleep(0.5)
        return admin.has_members(group)
