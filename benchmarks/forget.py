"""The erasure of busy people among many events, while a worker runs.

    python benchmarks/forget.py [--events 10000000] [--posts 1000000] [--people 3] [--of-person 10000]
                                [--in-posts 3000] [--rate 200]

Makes topics and a database of its own on the Kafka and ClickHouse of ENGAGEMENT_KAFKA and ENGAGEMENT_CLICKHOUSE. The
server itself fills the log and the derived rows: posts of very different size over 30 days. The posts of the people and
`--others` more get the rows that a recount makes; days are rolled up, and the forecast is calibrated. Then a worker
runs, `engagement simulate --live` sends, and `engagement forget` erases one person after the other. After each erasure
the posts of the person, the others, and all minutes of conversations to which they add are compared with the log, and
all files of the database are searched.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

from _crowd import add_person, derive, fill_log
from _exact_posts import ExactPosts
from _filling import roll_days

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.topics import ensure_topics
from pipeline.privacy.erased_hashes import ErasureKey
from pipeline.settings import Settings, load_settings
from processors.erasure.check import look_for_leftovers
from processors.erasure.people import People
from processors.unread import wait_until_read

KEY = "0123456789abcdef0123456789abcdef"
WAIT_SECONDS = 300.0


def main() -> None:
    options = arguments()
    settings = begin(f"forget{int(time.time())}")
    environment = {
        **os.environ,
        "ENGAGEMENT_CLICKHOUSE": settings.clickhouse.get_secret_value(),
        "ENGAGEMENT_TOPIC_PREFIX": settings.topic_prefix,
        "ENGAGEMENT_ERASURE_KEY": KEY,
        "ENGAGEMENT_METRICS_PORT": "0",
    }
    with ClickHouse(settings) as client:
        people = fill(settings, client, options)
        # What a worker that has been running for long has behind it.
        subprocess.run(command("calibrate"), env=environment, stdout=subprocess.DEVNULL, check=True)
        tell("the forecast is calibrated")
        worker = subprocess.Popen(command("work"), env=environment, stderr=subprocess.DEVNULL)
        sender = subprocess.Popen(
            command("simulate", "--live", str(options.rate), "--json"),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(10)
            wait_until_read(settings, WAIT_SECONDS, tell)
            for account, posts in people.items():
                erase(settings, environment, account, posts)
        finally:
            for process in (sender, worker):
                process.terminate()
                process.wait(30)
        client.execute(f"DROP DATABASE {settings.clickhouse_url.database}")


def begin(name: str) -> Settings:
    """Makes topics and a database of this run alone."""
    here = load_settings()
    url = here.clickhouse.get_secret_value().rpartition("/")[0]
    settings = here.model_copy(
        update={"topic_prefix": name, "clickhouse": type(here.clickhouse)(f"{url}/{name}"), "partitions": 4}
    )
    ensure_topics(settings)
    migrate(settings)
    return settings


def fill(settings: Settings, client: ClickHouse, options: argparse.Namespace) -> dict[str, ExactPosts]:
    """Fills the database. Returns the posts that are compared in the end, for each account to be erased."""
    fill_log(client, options.events, options.posts)
    accounts = [
        add_person(client, number, options.posts, options.in_posts, options.of_person)
        for number in range(options.people)
    ]
    derive(client, settings.partitions, lambda table: tell(f"  {table}", f"{count(client, table):,} rows"))
    people = {}
    for account in accounts:
        post_ids = client.select(
            "SELECT DISTINCT post_id FROM events WHERE actor_id = %(account)s UNION DISTINCT "
            "SELECT post_id FROM posts WHERE cityHash64(post_id, 'other') %% %(each)s = 0",
            {"account": account, "each": options.posts // options.others},
        )[0]
        people[account] = ExactPosts(settings, client, post_ids)
        people[account].write()
        events = client.select("SELECT count() FROM events WHERE actor_id = %(account)s", {"account": account})[0][0]
        tell(account, f"{events:,} events; {len(post_ids):,} posts have exact rows")
    roll_days(client, settings.partitions)
    tell("days of conversations", f"{count(client, 'conversation_days'):,}")
    tell("events in the log", f"{count(client, 'events'):,}")
    return people


def erase(settings: Settings, environment: dict[str, str], account: str, posts: ExactPosts) -> None:
    """Erases a person by the command, and says how long it took and what is left."""
    begun = time.monotonic()
    said = subprocess.run(
        command("forget", "--actor", account, "--json", "--wait", str(WAIT_SECONDS)),
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    tell("forget, s", f"{time.monotonic() - begun:.1f}")
    done: dict[str, Any] = json.loads(said.stdout)
    tell("... of which, s", ", ".join(f"{step} {seconds:.1f}" for step, seconds in done["seconds"].items()))
    tell("... of", ", ".join(f"{done[name]:,} {name}" for name in ("events", "posts", "refolded", "minutes")))
    left = look_for_leftovers(settings, ErasureKey(KEY), People.of([account], None), recounts=False)
    tell("files with the account", f"{len(left.files)} of {left.files_searched:,}, {left.bytes_searched / 1e9:.1f} GB")
    tell("values with the account", sum(left.rows.values()))
    found = posts.differences()
    tell("differences of posts and their minutes", f"{len(found)}, of {posts.minutes:,} minutes")
    for difference in found[:5]:
        tell("  ", difference)


def count(client: ClickHouse, table: str) -> int:
    return int(client.select(f"SELECT count() FROM {table}")[0][0])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments]


_started = time.monotonic()


def tell(what: str, value: object = "") -> None:
    print(f"{what:45} {value!s:>50}   ({time.monotonic() - _started:.0f} s)", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--of-person", type=int, default=10_000)
    parser.add_argument("--in-posts", type=int, default=3_000)
    parser.add_argument("--others", type=int, default=5_000)
    parser.add_argument("--rate", type=int, default=200)
    return parser.parse_args()


if __name__ == "__main__":
    main()
