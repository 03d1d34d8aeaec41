"""Commands that compute: work, recount."""

import json
from datetime import UTC, datetime
from typing import Final

import click

from pipeline.clickhouse import ClickHouse
from pipeline.errors import CheckFailed
from pipeline.settings import Settings, load_settings
from processors.conversation.recount import StoredMinutes, recount_minutes
from processors.conversation.recount_closed import check_closed
from processors.conversation.stored import ClickHouseConversations
from processors.engagement.bench import policy_of
from processors.engagement.hashing import Hasher
from processors.engagement.recount import recount as recount_posts
from processors.engagement.stored import ClickHouseLog
from processors.row_settings import row_settings
from processors.row_settings_stored import StoredRowSettings, check_for_comparison, settle_for_recount
from processors.worker import WorkOptions, run_worker

SHOWN: Final = 20
"""Differences that are printed; the rest is counted."""


@click.command(epilog="Example: engagement work --until-caught-up")
@click.option(
    "--until-caught-up",
    is_flag=True,
    help="End with 0 once all there is has been stored and committed, and minutes that can be are closed.",
)
@click.option(
    "--from",
    "since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]),
    help="Read again what Kafka received since then (UTC where no zone is said); nothing is counted twice.",
)
def work(until_caught_up: bool, since: datetime | None) -> None:
    """The Faust worker: reads the source topics and keeps the tables of ClickHouse exact.

    Start as many as there is work for; they share the partitions. Ends on SIGTERM or Ctrl-C.
    """
    rewind_to = (
        None if since is None else int((since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp() * 1000)
    )
    run_worker(load_settings(), WorkOptions(until_caught_up=until_caught_up, rewind_to=rewind_to))


@click.command(epilog="Example: engagement recount --check")
@click.option("--check", is_flag=True, help="Write nothing: compare, print the differences, exit 1 if there are any.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Replace the settings that stored rows follow from by those of this command; workers with others end.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def recount(check: bool, adopt: bool, as_json: bool) -> None:
    """Computes every derived row anew from the log of events, and says what was different.

    Without --check the rows are written too; workers may go on meanwhile. Counts at closing (conversation_closed) are
    compared as far as the log tells what had come by then, and never written: detectors have judged by them. Needs the
    settings that workers have: where they differ it names them and does nothing, unless they are to be adopted.
    """
    if check and adopt:
        raise click.UsageError("--check writes nothing and --adopt does: leave one out")
    settings = load_settings()
    if not _agree(settings, check, adopt):
        if as_json:
            click.echo(json.dumps({"posts": 0, "events": 0, "differences": 0, "first": []}))
        return
    hasher = Hasher()
    log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
    cells = ClickHouseConversations(lambda numpy: ClickHouse(settings, numpy=numpy))
    minutes = StoredMinutes(lambda numpy: ClickHouse(settings, numpy=numpy))
    client = ClickHouse(settings)
    posts = events = exact = bounded = bounded_count = 0
    differences: list[str] = []
    try:
        for chunk in recount_posts(log, log, hasher, None if check else log, policy_of(settings, hasher)):
            posts, events = posts + chunk.posts, events + chunk.events
            differences += map(str, chunk.differences)
        for found in recount_minutes(cells, minutes, check):
            differences += map(str, found)
        mendable = len(differences)
        for closed in check_closed(cells, client, settings.partitions, settings.lateness_seconds):
            exact, bounded = exact + closed.exact, bounded + closed.bounded
            bounded_count += closed.bounded_count
            differences += map(str, closed.differences)
    finally:
        for connections in (log, cells, minutes, client):
            connections.close()
    if as_json:
        counts = {"compared": exact, "within_bounds": bounded, "count_within_bounds": bounded_count}
        found_all = {"posts": posts, "events": events, "differences": len(differences), "conversation_closed": counts}
        click.echo(json.dumps(found_all | {"first": differences[:SHOWN]}))
    else:
        for difference in differences[:SHOWN]:
            click.echo(difference)
        if exact or bounded:
            click.echo(
                f"conversation_closed: {exact:,} counts compared; {bounded:,} more, of {bounded_count:,} posts and "
                "comments, rest on events that came so late that the log gives bounds alone"
            )
        click.echo(
            f"{posts:,} posts, {events:,} events: {len(differences):,} differences"
            + ("" if check else ", all rows written anew, but for counts at closing")
        )
    if check and differences:
        cure = "`engagement recount` writes them anew" if mendable else "nothing mends a count at closing"
        raise CheckFailed(f"{len(differences)} values are not what the log says: {cure}")


def _agree(settings: Settings, check: bool, adopt: bool) -> bool:
    """Whether rows have to be looked at. Raises SettingsError where they follow from other settings."""
    with ClickHouse(settings) as clickhouse:
        stored, here = StoredRowSettings(clickhouse), row_settings(settings)
        if check:
            check_for_comparison(here, stored)
            return True
        return settle_for_recount(here, stored, adopt, lambda said: click.echo(said, err=True))
