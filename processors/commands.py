"""The commands `engagement work` and `engagement recount`."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import click

from pipeline.clickhouse.client import ClickHouse
from pipeline.command_group import FiniteRange
from pipeline.errors import CheckFailed, Unavailable
from pipeline.observability.progress import ProgressDisplay
from pipeline.settings import Settings, load_settings
from processors.conversation.recount_closed import NOTHING_CLOSED, ClosedChecked
from processors.recounting import Recounted, recount_all
from processors.row_settings import row_settings
from processors.row_settings_store import StoredRowSettings, agree_for_recount, check_for_comparison
from processors.unread import Unread, count_unread, wait_until_read
from processors.worker import WorkOptions, run_worker

SHOWN: Final = 20
"""The most differences that are printed. All are counted."""


@click.command(epilog="Example: engagement work --until-caught-up")
@click.option(
    "--until-caught-up",
    is_flag=True,
    help="Exit 0 once all records are stored and committed, and all minutes that can be closed are.",
)
@click.option(
    "--from",
    "since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]),
    help="Read again what Kafka received since then (UTC where no zone is given); nothing is counted twice.",
)
def work(until_caught_up: bool, since: datetime | None) -> None:
    """The Faust worker: reads the source topics and keeps the tables of ClickHouse exact.

    Start as many as there is work for; they share the partitions. Ends on SIGTERM or Ctrl-C.
    """
    if since is not None and not since.tzinfo:
        since = since.replace(tzinfo=UTC)
    if since is not None and since > datetime.now(UTC):
        raise click.BadParameter(
            f"{since.isoformat()} is still to come: nothing can be read again", param_hint="--from"
        )
    rewind_to = None if since is None else int(since.timestamp() * 1000)
    run_worker(load_settings(), WorkOptions(until_caught_up=until_caught_up, rewind_to=rewind_to))


@click.command(epilog="Example: engagement recount --check")
@click.option("--check", is_flag=True, help="Write nothing: compare, print the differences, exit 1 if there are any.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Replace the settings that stored rows follow from by those of this command; workers with others end.",
)
@click.option(
    "--wait",
    type=FiniteRange(min=0),
    metavar="SECONDS",
    help="First wait until workers have read all that Kafka holds now; exit 1 where that takes longer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def recount(check: bool, adopt: bool, wait: float | None, as_json: bool) -> None:
    """Computes every derived row anew from the log of events, and prints the differences.

    Without --check the rows are written too; workers may go on meanwhile. Counts at closing (conversation_closed) are
    compared as far as the log tells which events had come by then, and are never written, because detectors have judged
    by them. With --check the newest parameters of the forecast (forecast_versions) are learned again and compared.
    Needs the settings of the workers: where they differ, the command names them and ends, unless --adopt is given.

    Says how many records Kafka holds that workers have not read yet: these are not in the log, so they are not checked.
    With --check it exits with 0 where every row agrees with the log, and with 1 where one differs or the log is empty.
    """
    if check and adopt:
        raise click.UsageError("--check writes nothing and --adopt does: leave one out")
    settings = load_settings()
    report = _Report(check)
    is_needed = _agree_on_settings(settings, check, adopt)
    if is_needed:
        report.unread = _look_at_kafka(settings, wait)
        _recount(settings, report)
    if as_json:
        click.echo(json.dumps(report.as_json()))
    elif is_needed:
        for line in report.lines():
            click.echo(line)
    if check:
        report.refuse()


@dataclass
class _Report:
    """The result of a recount.

    `versions_same`, `versions_late`: the versions of the forecast that were learned again, and those to whose posts
    events came late. `mendable`: the number of differences in rows that a recount writes. `unread`: None where Kafka
    did not tell.
    """

    check: bool
    posts: int = 0
    events: int = 0
    closed: ClosedChecked = NOTHING_CLOSED
    versions_same: int = 0
    versions_late: int = 0
    differences: list[str] = field(default_factory=list)
    mendable: int = 0
    unread: Unread | None = None

    def add(self, recounted: Recounted) -> None:
        self.posts, self.events = self.posts + recounted.posts, self.events + recounted.events
        self.differences += map(str, recounted.differences)
        self.mendable += len(recounted.differences) if recounted.is_mendable else 0
        self.closed = self.closed if recounted.closed is None else self.closed.plus(recounted.closed)

    def as_json(self) -> dict[str, Any]:
        return {
            "posts": self.posts,
            "events": self.events,
            "differences": len(self.differences),
            "conversation_closed": {
                "compared": self.closed.exact,
                "within_bounds": self.closed.bounded,
                "count_within_bounds": self.closed.bounded_count,
            },
            "forecast_versions": {"learned_again": self.versions_same, "late": self.versions_late},
            "first": self.differences[:SHOWN],
            "unread": None if self.unread is None else {"events": self.unread.events, "cells": self.unread.cells},
        }

    def lines(self) -> Iterator[str]:
        yield from self.differences[:SHOWN]
        if self.closed.exact or self.closed.bounded:
            yield (
                f"conversation_closed: {self.closed.exact:,} counts compared; {self.closed.bounded:,} more, of "
                f"{self.closed.bounded_count:,} posts and comments, rest on events that came so late that the log "
                "gives bounds alone"
            )
        if self.versions_same or self.versions_late:
            yield (
                f"forecast_versions: {self.versions_same:,} learned again; {self.versions_late:,} rest on posts to "
                "which events came late"
            )
        written = "" if self.check else ", all rows written anew, but for counts at closing"
        yield f"{self.posts:,} posts, {self.events:,} events: {len(self.differences):,} differences{written}"
        if self.unread is not None and self.unread.events:
            yield (
                f"{self.unread.events:,} records of Kafka are not in the log yet and were not looked at: "
                "--wait SECONDS waits for the workers"
            )
        elif not self.events:
            yield "there is nothing in the log" + ("" if self.unread is None else ", and nothing in Kafka to be read")

    def refuse(self) -> None:
        """Raises CheckFailed where a value differs from the log, or nothing was compared."""
        if self.differences:
            cure = "`engagement recount` writes them anew" if self.mendable else "nothing mends what is written once"
            if self.unread is not None and self.unread.cells:
                cure += (
                    f"; {self.unread.cells:,} messages wait for the conversation agent, so minutes of conversations "
                    "may be behind: --wait SECONDS waits for it"
                )
            raise CheckFailed(f"{len(self.differences)} values are not what the log says: {cure}")
        if not self.events:
            cure = "send events (`engagement simulate`) and start a worker (`engagement work`)"
            if self.unread is not None and self.unread.events:
                cure = "start a worker (`engagement work`), or wait for the one that starts (--wait 120)"
            raise CheckFailed(f"nothing was checked, because the log is empty: {cure}")


def _recount(settings: Settings, report: _Report) -> None:
    """Compares all rows and fills the report. Writes rows too, unless the report is of a check."""
    with ProgressDisplay(sys.stderr, "compared" if report.check else "recounted") as progress:
        for recounted in recount_all(settings, is_check=report.check):
            report.add(recounted)
            if recounted.posts:
                progress.show(report.posts, recounted.part)
    if report.check:
        # Imported here, because a worker, whose command this module has too, would not use it.
        from processors.calibration.calibrate import check_versions

        versions = check_versions(settings)
        report.versions_same, report.versions_late = versions.same, versions.late
        report.differences += map(str, versions.differences)


def _look_at_kafka(settings: Settings, wait: float | None) -> Unread | None:
    """Counts unread records, after the wait if `wait` is given. Returns None, and says why, where Kafka
    does not tell. Raises CheckFailed where the wait was too short."""
    if wait is not None:
        return wait_until_read(settings, wait, lambda line: click.echo(line, err=True))
    try:
        return count_unread(settings)
    except Unavailable as error:
        click.echo(f"what workers have not read yet is not known: {error}", err=True)
        return None


def _agree_on_settings(settings: Settings, check: bool, adopt: bool) -> bool:
    """Agrees with the database about row settings. Returns whether rows have to be recounted. Raises SettingsError
    where the stored rows follow from other settings."""
    with ClickHouse(settings) as clickhouse:
        stored, here = StoredRowSettings(clickhouse), row_settings(settings)
        if check:
            check_for_comparison(here, stored)
            return True
        return agree_for_recount(here, stored, adopt, lambda line: click.echo(line, err=True))
