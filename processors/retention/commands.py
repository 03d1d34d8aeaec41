"""The command `engagement retain`."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

import click

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import verify_tables
from pipeline.errors import SettingsError
from pipeline.settings import load_settings
from processors.retention.policy import RetentionPolicy, cut, retention_policy
from processors.retention.retention import Retention, Retired

NOTHING_SET: Final = (
    "nothing is deleted: set ENGAGEMENT_RETENTION_POSTS_DAYS, ENGAGEMENT_RETENTION_CONVERSATIONS_DAYS or "
    "ENGAGEMENT_RETENTION_HISTORY_DAYS"
)


@click.command(epilog="Example: engagement retain --dry-run")
@click.option("--dry-run", is_flag=True, help="Delete nothing: count what a run would delete.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def retain(dry_run: bool, as_json: bool) -> None:
    """Deletes posts, minutes of conversations and history that are older than ENGAGEMENT_RETENTION_*_DAYS.

    A post goes whole, with its log, some days after its newest event; its last row stays. Workers may go on: posts are
    marked first, and go two minutes later, when every worker has seen the mark. A run that was cut off is finished by
    the next one. Workers run it each hour too, where their role may delete; a cron job of the admin's is the other way.
    """
    settings = load_settings()
    policy = retention_policy(settings)
    if not policy.deletes:
        raise SettingsError(NOTHING_SET)
    with ClickHouse(settings) as clickhouse:
        verify_tables(clickhouse)
        retention = Retention(clickhouse, settings, policy)
        _warn_of_open_days(retention.rolled_until(), policy)
        retired = retention.preview(time.time()) if dry_run else retention.run(time.time(), _wait)
    click.echo(json.dumps(asdict(retired)) if as_json else _said(retired, policy, dry_run))


def _warn_of_open_days(rolled_until: int, policy: RetentionPolicy) -> None:
    """Says where days of conversations that nobody has rolled up hold rows back."""
    days = [days for days in (policy.posts_days, policy.conversations_days) if days is not None]
    if days and rolled_until < cut(time.time(), min(days)):
        since = f"{datetime.fromtimestamp(rolled_until, UTC):%Y-%m-%d}"
        click.echo(f"rows from {since} on stay until workers have rolled the days of conversations up", err=True)


def _wait(seconds: float) -> bool:
    click.echo(f"posts are marked: waiting {seconds:g} s until every worker has seen it", err=True)
    time.sleep(seconds)
    return True


def _said(retired: Retired, policy: RetentionPolicy, dry_run: bool) -> str:
    verb = "to be deleted" if dry_run else "deleted"
    parts = []
    if policy.posts_days is not None:
        parts.append(f"{retired.gone:,} posts {verb}, {retired.kept:,} kept, because events came meanwhile")
    if policy.conversations_days is not None:
        parts.append(f"{retired.conversation_minutes:,} minutes of conversations {verb}")
    if policy.history_days is not None:
        parts.append(f"{retired.history_rows:,} rows of the history {verb}")
    return "; ".join(parts)
