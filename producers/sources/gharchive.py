"""GH Archive: stars as likes, forks as shares, comments, from its files; hours are fetched."""

import os
from pathlib import Path

import click

from pipeline.errors import Refused
from pipeline.files.opening import check_inputs
from pipeline.files.options import STRICT_OPTION, reading
from pipeline.settings import load_settings
from producers.bookmark import Bookmark
from producers.command import JSON_OPTION, RATE_OPTION, print_summary, send_to_kafka
from producers.mapping.file_import import FileImport
from producers.mapping.hours import BASE, HourFiles, expand
from producers.mapping.mapper import load_map
from producers.mapping.shipped import find_map
from producers.pacing import PacePolicy
from producers.sending import SendPolicy
from producers.state_files import default_state_file


@click.command("gharchive")
@click.argument("names", metavar="FILES|HOURS...", nargs=-1, required=True)
@click.option("--base-url", default=BASE, show_default=True, help="Where hours are fetched.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where fetched hours are kept; by default below ~/.cache."
)
@click.option("--resume", is_flag=True, help="Go on where the last --resume of the same names stopped.")
@STRICT_OPTION
@RATE_OPTION
@JSON_OPTION
def gharchive(
    names: tuple[str, ...],
    base_url: str,
    folder: Path | None,
    resume: bool,
    strict: bool,
    rate: float | None,
    as_json: bool,
) -> None:
    """Send stars, forks and comments of GitHub into Kafka, by files of GH Archive or by hours (UTC).

    Hours are 2015-01-01-15, 2015-01-01-9..17 or 2015-01-01 for a whole day; each is fetched once and kept. A repository
    is the post; GitHub has no event for taking a star back. Some events of a file are late: it holds what was crawled
    in its hour.

    \b
    Example: engagement gharchive 2015-01-01-15
    """
    settings = load_settings()
    hours = dict(expand(names))
    check_inputs(name for name, is_hour in hours.items() if not is_hour)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    archive = HourFiles(folder or cache / "engagement" / "gharchive", base_url)

    def locate(name: str) -> str:
        return str(archive.fetch(name)) if hours[name] else name

    bookmark = None
    if resume:
        bookmark = Bookmark(default_state_file(settings, "gharchive", ".json", *hours), tuple(hours))
    source = FileImport(tuple(hours), load_map(find_map("gharchive")), bookmark, reading(None), locate)
    print_summary(send_to_kafka(source, settings, SendPolicy(strict, PacePolicy(rate))), as_json)
    if not source.has_events:
        raise Refused("no row was a star, a fork or a comment; are these files of GH Archive?")
