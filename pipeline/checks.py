"""The checks of `engagement check`: packages, servers, topics, tables and disks, each with a finding and its cure."""

import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import pending_migrations, undurable_tables, verify_tables
from pipeline.clickhouse.views import pending_views
from pipeline.errors import CheckFailed, EngagementError
from pipeline.kafka.client import open_admin
from pipeline.kafka.topics import check_topics, topic_specs
from pipeline.settings import Settings
from pipeline.topic_reader import read_newest
from schemas.topics import KINDS
from schemas.unknown_fields import MOST_NAMES, nearest_field, unknown_fields

DISTRIBUTION: Final = "engagement-pipeline"
FAUST: Final = "0.15.3"
"""The known release of Faust, whose hooks are checked release by release."""

KNOWN_CLICKHOUSE: Final = "26.9"
KAFKA_SECONDS: Final = 5.0
NEWEST_RECORDS: Final = 200
"""Records of each topic that are looked into for fields that events do not have."""

DISK_FREE_SHARE: Final = 0.05
DISK_FREE_BYTES: Final = 2**30
NUMBA_BYTES: Final = 300 * 2**20


@dataclass(frozen=True)
class Finding:
    """The result of one check; `said` describes the good state, or the fault and its cure."""

    name: str
    ok: bool
    said: str


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Runs all checks and yields each finding. Blocks for some seconds where a server is away; raises no error."""
    checks: dict[str, Callable[[Settings], str]] = {
        "python packages": _packages,
        "compiled code": _cache,
        "kafka": _kafka,
        "topics": _topics,
        "fields of events": _fields,
        "clickhouse": _clickhouse,
        "tables": _tables,
        "disk of clickhouse": _disk,
    }
    for name, run_check in checks.items():
        try:
            yield Finding(name, True, run_check(settings))
        except EngagementError as error:
            # A server's own words may have line breaks; a finding is one line.
            yield Finding(name, False, " ".join(str(error).split()))


def _packages(_: Settings) -> str:
    missing = []
    names = [
        re.split(r"[^\w.-]", said, maxsplit=1)[0] for said in requires(DISTRIBUTION) or () if "extra ==" not in said
    ]
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise CheckFailed(f"missing: {', '.join(missing)}: pip install {DISTRIBUTION}")
    if version("faust-streaming") != FAUST:
        found = version("faust-streaming")
        raise CheckFailed(f"faust-streaming {found} is not known: pip install faust-streaming=={FAUST}")
    return f"Python {sys.version.split()[0]}, {len(names)} packages, Faust {FAUST}"


def _cache(_: Settings) -> str:
    """Checks the cache of compiled kernels, which processors/runtime/kernel_cache.py chooses."""
    # Finding a package within `processors` imports `processors`, which sets NUMBA_CACHE_DIR to a writable folder.
    spec = find_spec("processors.engagement")
    beside = Path(spec.origin).parent / "__pycache__" if spec and spec.origin else Path()
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or beside)
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    if not os.access(there, os.W_OK):
        raise CheckFailed(f"{folder} cannot be written, so each start compiles anew: set NUMBA_CACHE_DIR")
    if shutil.disk_usage(there).free < NUMBA_BYTES:
        raise CheckFailed(f"less than {NUMBA_BYTES >> 20} MiB free at {folder}: make room, or set NUMBA_CACHE_DIR")
    return f"kept in {folder}"


def _kafka(settings: Settings) -> str:
    with open_admin(settings, KAFKA_SECONDS) as admin:
        topics = len(admin.partition_counts())
    return f"{settings.kafka} answers, {topics} topics"


def _topics(settings: Settings) -> str:
    specs = topic_specs(settings)
    with open_admin(settings, KAFKA_SECONDS) as admin:
        missing = sorted({spec.name for spec in specs} - admin.partition_counts().keys())
        if missing:
            raise CheckFailed(f"missing: {', '.join(missing)}: run `engagement init`")
        check_topics(admin, specs)
    return f"{len(specs)} topics of {settings.partitions} partitions"


def _fields(settings: Settings) -> str:
    """Names the fields of the newest events that are not stored. They are no fault: senders may have their own."""
    topics = settings.topics
    with open_admin(settings, KAFKA_SECONDS) as admin:
        there = admin.partition_counts().keys()
    counts: Counter[tuple[str, str]] = Counter()
    records: Counter[str] = Counter()
    for kind in (kind for kind in KINDS if topics.of(kind) in there):
        newest = read_newest(settings, topics.of(kind), NEWEST_RECORDS, KAFKA_SECONDS)
        records[kind] = len(newest)
        counts.update((name, kind) for record in newest for name in unknown_fields(record.value))
    if not counts:
        return f"all known in the newest {records.total()} records"
    shown = [_unknown_field(name, kind, n, records[kind]) for (name, kind), n in counts.most_common(MOST_NAMES)]
    more = f", and {len(counts) - MOST_NAMES} more" if len(counts) > MOST_NAMES else ""
    return f"not known, so not stored: {', '.join(shown)}{more}"


def _unknown_field(name: str, kind: str, count: int, records: int) -> str:
    near = nearest_field(name)
    return f"{name} in {count} of the newest {records} {kind}s{f' (is {near} meant?)' if near else ''}"


def _clickhouse(settings: Settings) -> str:
    # Without a database, which the next check looks for.
    with ClickHouse(settings, database="") as clickhouse:
        [[found]] = clickhouse.select("SELECT version()")
    known = "" if found.startswith(KNOWN_CLICKHOUSE + ".") else f" (tried with {KNOWN_CLICKHOUSE} only)"
    return f"{settings.clickhouse_url!r} answers, version {found}{known}"


def _tables(settings: Settings) -> str:
    with ClickHouse(settings) as clickhouse:
        verify_tables(clickhouse)
        pending = pending_migrations(clickhouse)
        if pending:
            raise CheckFailed(
                f"not applied: {', '.join(migration.name for migration in pending)}: run `engagement init`"
            )
        stale = pending_views(clickhouse, settings)
        undurable = undurable_tables(clickhouse) if settings.durable else []
    if stale:
        names = ", ".join([*(view.name for view in stale.to_write), *stale.to_drop])
        raise CheckFailed(f"views are not as this version has them: {names}: run `engagement init`")
    if undurable:
        raise CheckFailed(
            f"{undurable[0]} does not survive power loss, ENGAGEMENT_DURABLE is on: run `engagement init`"
        )
    return f"as declared, in database {settings.clickhouse_url.database}"


def _disk(settings: Settings) -> str:
    with ClickHouse(settings, database="") as clickhouse:
        names, free, total = clickhouse.select(
            "SELECT name, free_space, total_space FROM system.disks ORDER BY free_space"
        )
    for name, left, all_ in zip(names, free, total, strict=True):
        if left < max(DISK_FREE_BYTES, all_ * DISK_FREE_SHARE):
            raise CheckFailed(f"disk {name} has {left >> 20} MiB left of {all_ >> 20}: make room, or move its data")
    return f"{free[0] >> 30} GiB free"
