"""The command `engagement forget`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.exclusive import exclusive
from pipeline.command_group import FiniteRange
from pipeline.errors import CheckFailed, EngagementError, Refused
from pipeline.kafka.client import open_admin
from pipeline.privacy.erased_hashes import ErasureKey, load_erasure_key
from pipeline.privacy.erasure_store import ALLOW, ErasureStep, ErasureStore
from pipeline.privacy.pseudonyms import load_pseudonyms
from pipeline.settings import Settings, load_settings
from processors.columnar.hashing import Hasher
from processors.conversation.store import ClickHouseConversations
from processors.engagement.store import ClickHouseLog
from processors.erasure.check import Leftovers, look_for_leftovers
from processors.erasure.deletion import Deletion
from processors.erasure.erase import Erased, Erasure, ErasurePorts, require_key
from processors.erasure.log import ErasedLog
from processors.erasure.people import People
from processors.erasure.posts import RefoldedPosts
from processors.erasure.workers import wait_for_workers
from processors.wiring import job_policy

WORKERS_SECONDS: Final = 60.0
"""How long a step waits for all workers, unless told otherwise: a worker that hangs leaves its group after 10 s."""


@click.command("forget", epilog="Example: engagement forget --actor did:plc:abc --channel bluesky")
@click.option("--actor", "actors", multiple=True, metavar="ID", help="An account as events have it; repeatable.")
@click.option(
    "--from-file", "file", type=click.Path(path_type=Path, dir_okay=False), help="A file with an account a line."
)
@click.option("--channel", help="Only what was done on this channel; everywhere where not given.")
@click.option("--dry-run", is_flag=True, help="Count what would be erased, and change nothing.")
@click.option(
    "--check", is_flag=True, help="Erase nothing: exit 0 where nothing names the people, in rows or in files."
)
@click.option("--allow", is_flag=True, help="Let new events of the people in again; what was erased stays erased.")
@click.option(
    "--wait",
    type=FiniteRange(min=0),
    default=WORKERS_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long each step waits for the workers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def forget(
    actors: tuple[str, ...],
    file: Path | None,
    channel: str | None,
    dry_run: bool,
    check: bool,
    allow: bool,
    wait: float,
    as_json: bool,
) -> None:
    """Erase people: their posts with all that lies under them, their shares, comments and names leave every table, and
    their likes stay as likes by nobody. Workers may go on meanwhile.

    Their events are refused from then on, also when Kafka or a file brings them again. Needs ENGAGEMENT_ERASURE_KEY,
    and the settings of the workers. docs/privacy.md says what becomes of each column.
    """
    if sum((dry_run, check, allow)) > 1:
        raise click.UsageError("--dry-run, --check and --allow exclude one another")
    settings = load_settings()
    people = People.of(_accounts(settings, actors, file), channel)
    key = require_key(load_erasure_key(settings))
    say = _say if sys.stderr.isatty() or not as_json else lambda line: None
    if check:
        _print(look_for_leftovers(settings, key, people), as_json)
    elif allow:
        _allow(settings, key, people, wait, say, as_json)
    elif dry_run:
        _count(settings, people, as_json)
    else:
        with open_erasure(settings, key, people, wait, say) as erasure:
            _tell(settings, erasure.run(), as_json)


@contextmanager
def open_erasure(
    settings: Settings,
    key: ErasureKey,
    people: People,
    wait: float,
    say: Callable[[str], None],
    after_step: Callable[[str], None] = lambda step: None,
) -> Iterator[Erasure]:
    """Puts an erasure together, with connections that are closed at the end of the block. Waits up to `wait` seconds
    for the end of another erasure, or of a deletion of old posts, and raises Unavailable where it takes longer."""
    with ExitStack() as connections:
        hasher = Hasher()
        connections.enter_context(exclusive(settings, wait))
        clickhouse = connections.enter_context(ClickHouse(settings))
        log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
        cells = ClickHouseConversations(lambda numpy: ClickHouse(settings, numpy=numpy))
        connections.callback(log.close)
        connections.callback(cells.close)
        store, policy = ErasureStore(clickhouse), job_policy(settings, hasher)
        ports = ErasurePorts(
            clickhouse,
            cells,
            lambda deletion: RefoldedPosts(log, deletion, hasher, policy),
            lambda epoch: wait_for_workers(settings, store, epoch, wait, say),
            say,
            after_step,
        )
        yield Erasure(settings, key, people, ports)


def _accounts(settings: Settings, actors: tuple[str, ...], file: Path | None) -> list[str]:
    """Returns the accounts of the options, each with its pseudonym where accounts are replaced by these."""
    named = list(actors)
    if file is not None:
        try:
            # With or without a byte order mark; only a line feed ends a line.
            named += [line.strip() for line in file.read_text("utf-8-sig").split("\n") if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{file}: cannot be read ({error}); name a text file in UTF-8, an account a line") from None
    if not named or not all(named):
        raise click.UsageError("name accounts by --actor ID or --from-file FILE")
    if any("\0" in account for account in named):
        raise click.UsageError("an account holds a NUL character, which no event has")
    pseudonyms = load_pseudonyms(settings)
    return named + ([] if pseudonyms is None else list(map(pseudonyms.of_account, named)))


def _count(settings: Settings, people: People, as_json: bool) -> None:
    with ClickHouse(settings) as clickhouse:
        found = ErasedLog(clickhouse, Deletion(clickhouse, settings), people).find(is_running=False)
    counts = {"people": len(people.accounts), "posts": len(found.posts), "events": len(found.keys), "dry_run": True}
    if as_json:
        click.echo(json.dumps(counts))
        return
    click.echo(
        f"would erase {len(people.accounts):,} accounts: {len(found.posts):,} posts with all that lies under them; "
        f"{len(found.keys):,} events on other posts are by them or name them"
    )


def _allow(
    settings: Settings, key: ErasureKey, people: People, wait: float, say: Callable[[str], None], as_json: bool
) -> None:
    with ClickHouse(settings) as clickhouse:
        store = ErasureStore(clickhouse)
        store.hashes(key)
        epoch = store.epoch() + 1
        store.add_hashes(people.hashes(key), epoch, is_erased=False)
        store.record(epoch, ErasureStep(ALLOW, len(people.accounts)))
        wait_for_workers(settings, store, epoch, wait, say)
    click.echo(json.dumps({"allowed": len(people.accounts)}) if as_json else "new events of them are let in again")


def _tell(settings: Settings, erased: Erased, as_json: bool) -> None:
    kept = _kafka_keeps(settings)
    if as_json:
        click.echo(json.dumps({**asdict(erased), "kafka_keeps_ms": kept}))
        return
    click.echo(
        f"erased {erased.people:,} accounts: {erased.posts:,} posts left, {erased.events:,} events in all; "
        f"{erased.refolded:,} posts folded anew, {erased.minutes:,} minutes of conversations added up anew, "
        f"{erased.spikes:,} spikes and {erased.dead_letters:,} dead letters changed or left"
    )
    bounds = ", ".join(f"{topic} {_hours(milliseconds)}" for topic, milliseconds in kept.items())
    click.echo(
        f"Kafka keeps records until they expire (retention.ms: {bounds or 'not known'}); workers let none of these "
        "people in again. ClickHouse rewrites its files in the background: `engagement forget --check` looks into them"
    )


def _kafka_keeps(settings: Settings) -> dict[str, str]:
    """Returns retention.ms of the topics that may hold records of people; nothing where Kafka does not tell."""
    try:
        with open_admin(settings) as admin:
            topics = settings.topics
            names = [*topics.sources, topics.conversations, topics.alerts, topics.dead_letters]
            configs = admin.topic_configs(names, ["retention.ms"])
    except EngagementError:
        return {}
    return {topic: said["retention.ms"] for topic, said in configs.items()}


def _hours(milliseconds: str) -> str:
    return "for ever" if milliseconds == "-1" else f"{int(milliseconds) / 3_600_000:g} h"


def _print(leftovers: Leftovers, as_json: bool) -> None:
    """Prints what names the people. Raises CheckFailed where something does."""
    if as_json:
        click.echo(json.dumps(asdict(leftovers)))
    else:
        for line in leftovers.lines():
            click.echo(line)
    if leftovers.flaws:
        raise CheckFailed(
            f"{leftovers.flaws[0]}{f' (and {len(leftovers.flaws) - 1} more)' * (len(leftovers.flaws) > 1)}"
        )


def _say(line: str) -> None:
    click.echo(line, err=True)
