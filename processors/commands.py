"""Commands that compute: work, recount."""

from datetime import UTC, datetime

import click

from pipeline.settings import load_settings
from processors.worker import WorkOptions, run_worker


@click.command(epilog="Example: engagement work --until-caught-up")
@click.option("--until-caught-up", is_flag=True, help="End with 0 once all there is has been stored and committed.")
@click.option(
    "--from",
    "since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]),
    help="Read again what Kafka received since then (UTC); nothing is counted twice.",
)
def work(until_caught_up: bool, since: datetime | None) -> None:
    """The Faust worker: reads the source topics and keeps the tables of ClickHouse exact.

    Start as many as there is work for; they share the partitions. Ends on SIGTERM or Ctrl-C.
    """
    rewind_to = None if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1000)
    run_worker(load_settings(), WorkOptions(until_caught_up=until_caught_up, rewind_to=rewind_to))
