"""Bluesky: what happens on the network now, from Jetstream, at least once. A later run goes on behind the last ack."""

import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from pipeline.command_group import FiniteRange
from pipeline.dead_letters import FusePolicy
from pipeline.observability.logs import configure_logs
from pipeline.observability.source_metrics import SourceMetrics
from pipeline.settings import load_settings
from producers.bluesky.jetstream.compression import Compression
from producers.bluesky.jetstream.connection import JetstreamConnection
from producers.bluesky.jetstream.endpoints import DEFAULT_HOSTS, JetstreamEndpoint, Wanted
from producers.bluesky.options import parse_collections, parse_dids, parse_endpoints, split_words
from producers.bluesky.record_store import RecordStore, StorePolicy
from producers.bluesky.source import BlueskyPolicy, BlueskySource
from producers.bluesky.status import serve_status
from producers.bluesky.stream_filter import StreamFilter
from producers.command import JSON_OPTION, RATE_OPTION, print_summary, send_to_kafka, stop_on_signal
from producers.pacing import PacePolicy
from producers.sending import SendPolicy
from producers.state_files import default_state_file

log = logging.getLogger(__name__)


@click.command()
@click.option(
    "--host",
    "endpoints",
    multiple=True,
    default=DEFAULT_HOSTS,
    callback=parse_endpoints,
    metavar="URL",
    help="ws:// or wss:// URL of a host; its path says v1 (/subscribe) or v2. Several take turns.",
)
@click.option(
    "--collections",
    multiple=True,
    callback=parse_collections,
    metavar="NAMES",
    help="Of like, repost, post; asked of the host. All by default.",
)
@click.option(
    "--actors", multiple=True, callback=parse_dids, metavar="DIDS", help="What these accounts do; asked of the host."
)
@click.option(
    "--authors",
    multiple=True,
    callback=parse_dids,
    metavar="DIDS",
    help="Posts of these accounts, and what anybody does to them.",
)
@click.option(
    "--tags",
    multiple=True,
    callback=split_words,
    metavar="NAMES",
    help="What names one of these hashtags, and what happens to posts that do.",
)
@click.option(
    "--mentions", multiple=True, callback=parse_dids, metavar="DIDS", help="... or mentions one of these accounts."
)
@click.option(
    "--until-idle",
    type=FiniteRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End when nothing new came for so long.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file of position and records; by default one below ~/.local/state/engagement.",
)
@click.option(
    "--keep-days",
    default=StorePolicy.keep_days,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="How long a like can still be taken back.",
)
@click.option(
    "--keep-records",
    default=StorePolicy.keep_records,
    show_default=True,
    type=click.IntRange(1),
    help="... and of how many records, 150 bytes each.",
)
@click.option(
    "--dictionary",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Jetstream's zstd dictionary for v1 hosts; v2 hosts send theirs.",
)
@click.option("--compress/--no-compress", default=True, show_default=True, help="Ask for zstd.")
@RATE_OPTION
@JSON_OPTION
def bluesky(endpoints: tuple[JetstreamEndpoint, ...], rate: float | None, as_json: bool, **given: Any) -> None:
    """Send what happens on Bluesky into Kafka, live and without a key: likes, reposts, replies, posts, undo.

    Ends on SIGTERM or Ctrl-C. The next run goes on behind the last acked event.

    \b
    Example: engagement bluesky --tags coffee,tea --until-idle 60
    """
    settings = load_settings()
    configure_logs(settings)
    metrics = SourceMetrics()
    compression = Compression(given["compress"], given["dictionary"])
    stream = JetstreamConnection(endpoints, Wanted(given["collections"], given["actors"]), compression)
    path, store_policy = (
        given["state"] or default_state_file(settings, "bluesky", ".sqlite"),
        StorePolicy(given["keep_days"], given["keep_records"]),
    )
    policy = BlueskyPolicy(
        StreamFilter.of(given["authors"], given["tags"], given["mentions"]),
        given["until_idle"],
        FusePolicy(settings.fuse_records, settings.fuse_share),
    )
    source = BlueskySource(stream, lambda: RecordStore(path, store_policy), policy, metrics)
    with serve_status(settings, metrics, lambda: source.trouble) as url, closing(source), stop_on_signal(source.stop):
        if url is not None:
            log.info("status at %s/metrics, /healthz, /readyz", url)
        summary = send_to_kafka(source, settings, SendPolicy(pace=PacePolicy(rate)))
    print_summary(summary, as_json)
