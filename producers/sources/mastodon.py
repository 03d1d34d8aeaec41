"""The command of the Mastodon source."""

from pathlib import Path

import click

from pipeline.command_group import FiniteRange
from pipeline.errors import SettingsError
from pipeline.settings import load_settings
from producers.command import JSON_OPTION, RATE_OPTION, print_summary, send_to_kafka
from producers.mastodon.api import MastodonApi
from producers.mastodon.polling import MastodonSource, PollPolicy
from producers.mastodon.tracked import TrackedStatuses
from producers.pacing import PacePolicy
from producers.sending import SendPolicy
from producers.state_files import default_state_file


@click.command("mastodon")
@click.option("--server", required=True, help="The server to ask, such as mastodon.social.")
@click.option("--public", "is_public", is_flag=True, help="The timeline of all statuses that the server knows.")
@click.option("--local", "is_local", is_flag=True, help="The timeline of the server's own statuses.")
@click.option("--tag", "tags", multiple=True, help="Statuses with a hashtag; repeatable.")
@click.option("--account", "accounts", multiple=True, help="Statuses of an account, user or user@server.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with an access token: then statuses and deletions also come by the stream, within seconds.",
)
@click.option(
    "--interval",
    default=60.0,
    show_default=True,
    type=FiniteRange(min=5),
    help="Seconds between two looks at timelines and fresh statuses.",
)
@click.option(
    "--watch-days",
    default=7.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="How long favourites, boosts and answers of a status are followed.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="End after so many looks instead of going on.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="File of what was seen; by default one below ~/.local/state/engagement.",
)
@RATE_OPTION
@JSON_OPTION
def mastodon(
    server: str,
    is_public: bool,
    is_local: bool,
    tags: tuple[str, ...],
    accounts: tuple[str, ...],
    token_file: Path | None,
    interval: float,
    watch_days: float,
    rounds: int | None,
    state: Path | None,
    rate: float | None,
    as_json: bool,
) -> None:
    """Send statuses, answers, favourites and boosts of a Mastodon server into Kafka.

    Mastodon tells how many have favourited or boosted a status, not who: such likes and shares have no actor, and their
    time is when they were seen.

    \b
    Example: engagement mastodon --server mastodon.social --tag opensource
    """
    timelines = _timelines(is_public, is_local, tags, accounts)
    settings = load_settings()
    tracked = TrackedStatuses(state or default_state_file(settings, "mastodon", ".sqlite", server))
    try:
        api = MastodonApi(server, None if token_file is None else _read_token(token_file))
        stream = api.stream(is_local=not is_public) if token_file is not None and (is_public or is_local) else None
        source = MastodonSource(api, tracked, PollPolicy(timelines, interval, watch_days, rounds=rounds), stream)
        print_summary(send_to_kafka(source, settings, SendPolicy(pace=PacePolicy(rate))), as_json)
    finally:
        tracked.close()


def _timelines(is_public: bool, is_local: bool, tags: tuple[str, ...], accounts: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of timelines. Raises click.UsageError where none is asked for."""
    names = [name for name, is_wanted in (("public", is_public), ("local", is_local)) if is_wanted]
    names += [f"tag/{tag.lstrip('#')}" for tag in tags]
    names += [f"account/{account.lstrip('@')}" for account in accounts]
    if not names:
        raise click.UsageError("nothing to read; name --public, --local, --tag or --account")
    return tuple(dict.fromkeys(names))


def _read_token(path: Path) -> str:
    """Returns the token in a file. Raises SettingsError, which never shows the content."""
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"--token-file: {path} cannot be read; name a file with the access token alone") from None
    if not token or not token.isascii() or len(token.split()) != 1:
        raise SettingsError(f"--token-file: {path} holds no token; write the access token alone into it")
    return token
