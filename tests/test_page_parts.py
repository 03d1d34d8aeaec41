"""The content of the page on a real ClickHouse, filled by a real worker, against SQL over the log."""

import asyncio
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.brands import load_brands
from pipeline.clickhouse.client import ClickHouse
from pipeline.embedded.endpoints import StackEndpoints
from pipeline.embedded.stack import Stack
from pipeline.errors import Refused, SchemaDrift, Unavailable
from pipeline.page import sql
from pipeline.page.database import PageDatabase
from pipeline.page.feeds import FeedKey, message
from pipeline.page.query import PageQuery
from pipeline.page.search import search
from pipeline.page.views import PARTS, VIEWS, PagePorts
from pipeline.settings import Settings
from tests.page_stage import PageStage, page_stage, served

BRANDS = Path(__file__).parent.parent / "deploy/brands.example.yaml"


@pytest.fixture(scope="module")
def stage(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageStage]:
    addresses = stack.status().addresses
    assert addresses is not None
    with page_stage(addresses, tmp_path_factory.mktemp("page"), BRANDS) as made:
        yield made


def content(stage: PageStage, part: str, subject: str = "") -> Any:
    """What a part says once."""

    async def read() -> Any:
        ports = PagePorts(database, load_brands(BRANDS))
        return (await PARTS[part](ports, subject).read()).whole

    database = PageDatabase(stage.settings)
    try:
        return asyncio.run(read())
    finally:
        database.close()


def test_every_part_can_be_read_and_every_query_is_used(stage: PageStage) -> None:
    [post] = stage.column("SELECT post_id FROM post_metrics_v ORDER BY shares DESC LIMIT 1")
    [spike] = stage.column("SELECT spike_id FROM conversation_spikes_v LIMIT 1")
    [author] = stage.column("SELECT concat(channel, '/', author_id) FROM posts_v LIMIT 1")
    subjects = {"post": post, "conversation": "hashtag:launch", "author": author, "spike": spike}
    used: set[str] = set()

    class Recording(PageDatabase):
        async def read(self, query: PageQuery, **params: Any) -> list[dict[str, Any]]:
            used.add(query.sql)
            return await super().read(query, **params)

    async def read_all() -> None:
        ports = PagePorts(database, load_brands(BRANDS))
        for view, parts in VIEWS.items():
            for part in ("freshness", *parts):
                made = PARTS[part](ports, subjects.get(view, ""))
                whole = (await made.read()).whole
                assert whole or part == "author-spikes", part
                assert len(message(part, whole)) > 20
        await search(database, "launch")

    database = Recording(stage.settings)
    try:
        asyncio.run(read_all())
    finally:
        database.close()
    queries = {name: query for name, query in vars(sql).items() if isinstance(query, PageQuery)}
    assert [name for name, query in queries.items() if query.sql not in used] == []


def test_minutes_are_those_of_the_log(stage: PageStage) -> None:
    minutes = content(stage, "minutes")
    total = "SELECT countIf(kind = '{kind}' AND action = 'add') - countIf(kind = '{kind}' AND action = 'retract' "
    total += "AND target_id IN (SELECT event_id FROM events FINAL WHERE kind = '{kind}' AND action = 'add')) "
    total += "FROM events FINAL WHERE occurred_at >= now() - 86400"
    assert sum(minutes["comments"]) == stage.column(total.format(kind="comment"))[0]
    assert sum(minutes["shares"]) == stage.column(total.format(kind="share"))[0]
    assert sum(minutes["posts"]) == stage.column("SELECT count() FROM posts_v ")[0]
    assert minutes["minute"] == sorted(set(minutes["minute"]))


def test_rising_posts_are_ranked_by_the_shares_of_the_next_hour(stage: PageStage) -> None:
    rows = content(stage, "rising")
    due = [row["forecast_shares_next_1h"] or 0 for row in rows]
    assert due == sorted(due, reverse=True)
    assert all(row["facts"]["author_id"] and row["trend"] for row in rows)
    assert rows[0]["reasons"]


def test_a_posts_cascade_and_thread_have_the_counts_of_its_row(stage: PageStage) -> None:
    posts = stage.column("SELECT post_id FROM post_metrics_v ORDER BY shares + comments DESC LIMIT 8")
    for post in posts:
        trees, row = content(stage, "trees", post), content(stage, "post", post)["metrics"]
        assert trees["cascade"]["total"] + trees["cascade"]["waiting"] == row["shares"]
        assert trees["thread"]["total"] + trees["thread"]["unplaced"] == row["comments"]
        assert trees["thread"]["waiting"] == row["unanswered"]


def test_the_course_of_shares_ends_at_their_number(stage: PageStage) -> None:
    [post] = stage.column("SELECT post_id FROM post_metrics_v ORDER BY shares DESC LIMIT 1")
    course = content(stage, "forecast", post)
    assert sum(course["minutes"]["shares"]) == content(stage, "post", post)["metrics"]["shares"]
    assert course["minutes"]["minute"] == sorted(course["minutes"]["minute"])


def test_the_planted_spike_is_told_once_for_its_cause(stage: PageStage) -> None:
    causes = content(stage, "spikes")
    assert len({cause["group_id"] for cause in causes}) == len(causes)
    [launch] = [cause for cause in causes if cause["conversation"] == "hashtag:launch"][:1]
    assert "a minute" in launch["comparison"] or "an hour" in launch["comparison"]
    told = content(stage, "spike", launch["spike_id"])
    assert told["spike"]["name"] == "#launch"
    assert told["spike"]["reasons"]
    assert sum(told["minutes"]["comments"]) > 0
    counts = dict(zip(told["spike"]["top_posts"], told["spike"]["top_counts"], strict=True))
    assert [(post["post_id"], post["said"]) for post in told["posts"]] == list(counts.items())[:8]


def test_what_is_not_there_is_no_error(stage: PageStage) -> None:
    assert content(stage, "post", "nothing") == {"facts": None, "metrics": None}
    assert content(stage, "conversation", "hashtag:nothing")["numbers"] is None
    assert content(stage, "spike", "nothing") == {"spike": None}
    assert content(stage, "author", "net/nobody")["numbers"] is None
    assert content(stage, "author", "")["numbers"] is None
    assert content(stage, "trees", "nothing")["cascade"]["total"] == 0
    assert content(stage, "forecast", "nothing")["created_at"] is None


def test_an_id_cannot_leave_its_query(stage: PageStage) -> None:
    for hostile in (
        "' OR 1 = 1 --",
        "\\' OR 1 = 1 --",
        "%(post)s",
        "\\",
        "x\x00y",
        "')) UNION ALL SELECT * FROM events --",
    ):
        assert content(stage, "post", hostile) == {"facts": None, "metrics": None}
        assert content(stage, "conversation", hostile)["numbers"] is None


def test_search_finds_posts_authors_and_conversations(stage: PageStage) -> None:
    [post] = stage.column("SELECT post_id FROM posts_v LIMIT 1")
    [author] = stage.column("SELECT author_id FROM posts_v GROUP BY author_id ORDER BY count() DESC LIMIT 1")

    async def find(text: str) -> Any:
        return await search(database, text)

    database = PageDatabase(stage.settings)
    try:
        assert asyncio.run(find(post))["posts"][0]["post_id"] == post
        assert asyncio.run(find(f"@{author.upper()}"))["authors"][0]["author_id"] == author
        found = asyncio.run(find("#LAUNCH"))["conversations"]
        assert (found[0]["conversation"], found[0]["name"]) == ("hashtag:launch", "#launch")
        assert {row["conversation"] for row in asyncio.run(find("lau"))["conversations"]} >= {"hashtag:launch"}
        assert asyncio.run(find("nothing of the kind")) == {"posts": [], "authors": [], "conversations": []}
    finally:
        database.close()


def test_the_page_reads_only(stage: PageStage) -> None:
    with ClickHouse(stage.settings, reads_for_seconds=5) as client:
        for statement in (
            "CREATE TABLE t (a UInt8) ENGINE = Memory",
            "INSERT INTO source_marks (partition) VALUES (1)",
        ):
            with pytest.raises(Refused, match="readonly"):
                client.execute(statement)
        with pytest.raises(Refused, match="readonly"):
            client.execute("SET readonly = 0")
        with pytest.raises(Unavailable, match="159"):
            client.select("SELECT sleepEachRow(1) FROM numbers(30) SETTINGS max_block_size = 1, max_execution_time = 1")


def test_the_stacks_reader_can_show_the_page(stack: Stack) -> None:
    addresses = stack.status().addresses
    assert addresses is not None
    assert addresses.environment()["ENGAGEMENT_PAGE_CLICKHOUSE"].startswith("clickhouse://reader:")
    database = PageDatabase(Settings(page_clickhouse=SecretStr(addresses.clickhouse_reader)))
    try:
        with pytest.raises(SchemaDrift, match="engagement init"):
            asyncio.run(database.read(sql.READ_FRESHNESS))
    finally:
        database.close()


def test_two_hundred_viewers_ask_no_more_than_one(stage: PageStage, tmp_path: Path, addresses: StackEndpoints) -> None:
    def asked_by(viewers: int) -> float:
        """Queries of the server a second while so many watch over HTTP."""
        streams = [urllib.request.urlopen(f"{url}/events/overview/", timeout=10) for _ in range(viewers)]
        got = [threading.Thread(target=lambda stream=stream: stream.read(2000)) for stream in streams]
        for thread in got:
            thread.start()
        for thread in got:
            thread.join(20)
            assert not thread.is_alive()
        before = queries()
        threading.Event().wait(5)
        asked = queries() - before
        for stream in streams:
            stream.close()
        return asked

    def queries() -> int:
        with ClickHouse(Settings(clickhouse=SecretStr(addresses.clickhouse)), database="") as client:
            return int(client.select("SELECT value FROM system.events WHERE event = 'SelectQuery'")[0][0])

    stage.worker.stop()
    with served(stage.environment, tmp_path / "page.log") as url:
        alone = asked_by(1)
        many = asked_by(200)
    assert alone > 5
    assert many <= alone * 1.5 + 5


def test_the_parts_of_a_view_have_makers() -> None:
    assert {part for parts in VIEWS.values() for part in parts} | {"freshness"} == PARTS.keys()
    assert FeedKey("post", "a") != FeedKey("post", "b")
