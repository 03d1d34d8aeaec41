"""The erasure of a busy person among many events, while a worker runs.

    python benchmarks/forget.py [--events 10000000] [--posts 1000000] [--of-person 10000] [--in-posts 3000] [--rate 200]

Makes topics and a database of its own on the Kafka and ClickHouse of ENGAGEMENT_KAFKA and ENGAGEMENT_CLICKHOUSE. The
server itself fills the log: posts of very different size over 30 days. `engagement recount` makes the derived rows.
Then a worker runs, `engagement simulate --live` sends, and `engagement forget` erases the person; in the end every row
has to agree with the log, and no file may hold the account.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings, load_settings

WHO: Final = "did:plc:benchmarkperson"
OWN_POSTS: Final = 30
KEY: Final = "0123456789abcdef0123456789abcdef"

FILL: Final = """
INSERT INTO events (post_id, kind, action, event_id, actor_id, parent_id, target_id, occurred_at, received_at,
                    channel, conversations, url, links, quotes, author_id, followers, labels, text, topic, partition,
                    offset, version)
WITH number %% %(each)s = 7 AND number >= %(posts)s AS is_person,
     cityHash64(number) AS hash,
     if(number < %(posts)s, number,
        if(is_person, intDiv(number, %(each)s) %% %(in_posts)s * intDiv(%(posts)s, %(in_posts)s) + 50,
           toUInt64(pow(hash %% 1000003 / 1000003, 3) * (%(posts)s - 1)))) AS post,
     toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + toIntervalSecond(cityHash64(post, 'made') %% 2592000) AS made
SELECT 'p' || toString(post),
       if(number < %(posts)s, 'post', ['like', 'like', 'like', 'like', 'share', 'comment', 'comment'][hash %% 7 + 1]),
       'add',
       'e' || toString(number),
       if(is_person OR number < %(own)s, %(who)s, 'u' || toString(cityHash64(hash) %% 500000)),
       '', '',
       if(number < %(posts)s, made, made + toIntervalSecond(intExp10(hash %% 5) * (hash %% 9) + hash %% 60)),
       made + toIntervalDay(30),
       ['bluesky', 'mastodon', 'forum'][post %% 3 + 1],
       if(number < %(posts)s, ['hashtag:tag' || toString(post %% 1000)], []),
       '', [], '', '', NULL, map(), '', 'engagement.likes', 0, number, 4611686018427387904 - number
FROM numbers(%(events)s)
"""


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
    client = ClickHouse(settings)
    started = time.monotonic()
    client.execute(
        FILL,
        {
            "events": options.events,
            "posts": options.posts,
            "each": max(1, (options.events - options.posts) // options.of_person),
            "in_posts": options.in_posts,
            "own": OWN_POSTS,
            "who": WHO,
        },
    )
    tell("events in the log", f"{client.select('SELECT count() FROM events')[0][0]:,}", started)
    person = client.select("SELECT count(), uniq(post_id) FROM events WHERE actor_id = %(who)s", {"who": WHO})
    tell("... of the person", f"{person[0][0]:,} in {person[1][0]:,} posts", started)
    run(environment, "recount", "--json")
    tell("derived rows made", "by engagement recount", started)
    worker = subprocess.Popen(command("work"), env=environment, stderr=subprocess.DEVNULL)
    sender = subprocess.Popen(command("simulate", "--live", str(options.rate), "--json"), env=environment)
    try:
        run(environment, "recount", "--check", "--wait", "300", "--json", check=False)
        begun = time.monotonic()
        done = run(environment, "forget", "--actor", WHO, "--json", "--wait", "300")
        seconds = time.monotonic() - begun
    finally:
        sender.terminate()
        sender.wait(30)
    differences = run(environment, "recount", "--check", "--wait", "300", "--json", check=False)["differences"]
    left = run(environment, "forget", "--actor", WHO, "--check", "--json", check=False)
    worker.terminate()
    worker.wait(30)
    tell("forget, s", f"{seconds:.1f}", started)
    for name in ("posts", "events", "refolded", "minutes"):
        tell(f"... {name}", f"{done[name]:,}", started)
    tell("differences of a recount", differences, started)
    tell("files with the account, of files searched", f"{len(left['files'])} of {left['files_searched']:,}", started)
    tell("values with the account", sum(left["rows"].values()), started)
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


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments]


def run(environment: dict[str, str], *arguments: str, check: bool = True) -> dict[str, Any]:
    """Runs a command of the program and returns the JSON that it prints."""
    done = subprocess.run(command(*arguments), env=environment, stdout=subprocess.PIPE, check=check)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tell(what: str, value: object, started: float) -> None:
    print(f"{what:45} {value!s:>20}   ({time.monotonic() - started:.0f} s)", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--of-person", type=int, default=10_000)
    parser.add_argument("--in-posts", type=int, default=3_000)
    parser.add_argument("--rate", type=int, default=200)
    return parser.parse_args()


if __name__ == "__main__":
    main()
