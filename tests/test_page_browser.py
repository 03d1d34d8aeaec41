"""The live page in a real browser, on numbers that a real worker counts: what people see, hear and reach by keys."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from pipeline.embedded.stack import Stack
from tests.browser import PATIENCE_MS, Look, look_at, open_browser
from tests.page_stage import HOSTILE, PageStage, page_stage, served
from tests.patience import SCALE

BRANDS = Path(__file__).parent.parent / "deploy/brands.example.yaml"
PAINT_SECONDS = 1.0
SHOWN_SECONDS = 10.0
"""On a busy machine; benchmarks/page.py measures the 3 s that are promised."""
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as made:
        yield made


@pytest.fixture(scope="module")
def stage(browser: Browser, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageStage]:
    addresses = stack.status().addresses
    assert addresses is not None
    with page_stage(addresses, tmp_path_factory.mktemp("page"), BRANDS) as made:
        made.send(post("hostile", author=HOSTILE["author"], text=HOSTILE["text"], channel=HOSTILE["channel"]))
        made.send(*reactions("hostile", 3, actor_id=HOSTILE["author"], text=HOSTILE["text"]))
        made.wait_for("SELECT 1 FROM post_metrics_v WHERE post_id = 'hostile' AND comments = 3", 60 * SCALE)
        yield made


@pytest.fixture(scope="module")
def site(stage: PageStage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(stage.environment, tmp_path_factory.mktemp("served") / "page.log") as url:
        yield url


@pytest.fixture(scope="module")
def paths(stage: PageStage) -> dict[str, str]:
    """A path of each view."""
    [busy] = stage.column("SELECT post_id FROM post_metrics_v ORDER BY shares DESC LIMIT 1")
    [spike] = stage.column("SELECT spike_id FROM conversation_spikes_v WHERE conversation = 'hashtag:launch' LIMIT 1")
    [author] = stage.column("SELECT concat(channel, '/', author_id) FROM posts_v WHERE author_id = 'acme' LIMIT 1")
    return {
        "overview": "/",
        "post": f"/post/{busy}",
        "conversation": "/conversation/hashtag:launch",
        "author": f"/author/{author}",
        "spike": f"/spike/{spike}",
        "search": "/search?q=launch",
        "hostile post": "/post/hostile",
        "hostile author": f"/author/{quote(HOSTILE['channel'].lower(), safe='')}/{quote(HOSTILE['author'], safe='')}",
        "nothing": "/post/nothing-of-the-kind",
    }


VIEWS = (
    "overview",
    "post",
    "conversation",
    "author",
    "spike",
    "search",
    "hostile post",
    "hostile author",
    "nothing",
)


def post(post_id: str, **fields: Any) -> dict[str, Any]:
    event = {
        "event_id": f"{post_id}#post",
        "kind": "post",
        "post_id": post_id,
        "actor_id": fields.pop("author", "ana"),
        "occurred_at": now(),
        "channel": "bluesky",
        "hashtags": ["launch", HOSTILE["tag"]],
        "url": HOSTILE["url"],
    }
    return event | fields


def reactions(post_id: str, count: int, kind: str = "comment", **fields: Any) -> list[dict[str, Any]]:
    made = uuid.uuid4().hex[:8]
    return [
        {
            "event_id": f"{made}-{number}",
            "kind": kind,
            "post_id": post_id,
            "actor_id": f"person-{number}",
            "occurred_at": now(),
            "channel": "bluesky",
        }
        | fields
        for number in range(count)
    ]


def now() -> str:
    return datetime.now(UTC).isoformat()


def wait_until_drawn(look: Look) -> None:
    """Waits until the view has its numbers; a search has none."""
    look.page.locator("main h1").wait_for()
    expect(look.page.locator("main")).not_to_contain_text("Counting.", timeout=PATIENCE_MS)
    expect(look.page.locator("#fresh")).not_to_have_attribute("data-state", "wait", timeout=PATIENCE_MS)


@pytest.mark.parametrize(("scheme", "window"), [("light", DESKTOP), ("dark", PHONE)])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_sound(
    browser: Browser, site: str, paths: dict[str, str], view: str, scheme: str, window: dict[str, int]
) -> None:
    with look_at(browser, site + paths[view], scheme=scheme, **window) as look:
        wait_until_drawn(look)
        assert look.axe() == []
        assert not look.overflows()
        text = look.page.locator("main").inner_text()
        assert not any(word in text for word in ("undefined", "NaN", "null", "[object"))


def test_the_first_paint_is_soon(browser: Browser, site: str) -> None:
    with look_at(browser, site) as look:
        look.page.locator("main h1").wait_for()
        painted = look.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert painted <= 1000 * PAINT_SECONDS * SCALE


def test_what_rises_is_listed_in_the_order_of_the_server(browser: Browser, site: str, stage: PageStage) -> None:
    sql = (
        "SELECT post_id FROM post_metrics_v WHERE likes_1h + shares_1h + comments_1h > 0 "
        "ORDER BY forecast_shares_next_1h DESC NULLS LAST, score_default_1h DESC, post_id LIMIT 12"
    )
    with look_at(browser, site) as look:
        titles = look.page.locator("ol.rows").first.locator("> li .title")
        titles.first.wait_for()
        # What is expected falls from minute to minute, so the order may change between the two looks.
        for _ in range(20):
            shown = titles.evaluate_all("links => links.map(link => link.pathname)")
            ranked = [f"/post/{post_id}" for post_id in stage.column(sql)]
            if shown == ranked:
                break
            look.page.wait_for_timeout(1000)
    assert shown == ranked


def test_an_event_is_on_the_screen_soon(browser: Browser, site: str, stage: PageStage) -> None:
    name = f"live-{uuid.uuid4().hex[:8]}"
    stage.send(post(name, text="A post to watch", url="https://example.org/watch"))
    stage.wait_for(f"SELECT 1 FROM posts_v WHERE post_id = '{name}'", 60 * SCALE)
    took = []
    with look_at(browser, f"{site}/post/{name}") as look:
        likes = look.page.locator("dl.figures dd").first
        look.page.get_by_role("heading", name="A post to watch").wait_for()
        for count in range(1, 4):
            started = time.monotonic()
            stage.send(*reactions(name, 1, "like"))
            expect(likes.locator("span")).to_have_text(str(count), timeout=PATIENCE_MS)
            took.append(time.monotonic() - started)
            time.sleep(0.5)
        assert look.page.get_by_role("link", name="see it there").get_attribute("href") == "https://example.org/watch"
    assert min(took) <= SHOWN_SECONDS * SCALE, took


def test_a_cascade_grows_and_names_who_carried_it(browser: Browser, site: str, stage: PageStage) -> None:
    name = f"cascade-{uuid.uuid4().hex[:8]}"
    first = reactions(name, 2, "share")
    stage.send(post(name, text="Carried"), *first)
    with look_at(browser, f"{site}/post/{name}") as look:
        words = look.page.get_by_text("2 shares over 1 step")
        words.wait_for()
        before = _ink(look)
        more = reactions(name, 40, "share", parent_id=first[0]["event_id"])
        stage.send(*more)
        look.page.get_by_text("42 shares over 2 steps").wait_for()
        carrier = look.page.locator(".carriers button").first
        expect(carrier).to_contain_text("person-0")
        expect(carrier).to_contain_text("40 shares behind this one, 40 straight from it")
        look.page.wait_for_timeout(500)
        assert _ink(look) > 1.5 * before
        carrier.click()
        expect(carrier).to_have_attribute("aria-pressed", "true")


def _ink(look: Look) -> int:
    """The pixels of the cascade that are drawn on."""
    script = """canvas => { const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let drawn = 0; for (let at = 3; at < data.length; at += 4) drawn += data[at] > 0; return drawn; }"""
    return int(look.page.locator(".stage canvas").evaluate(script))


def test_who_waits_for_an_answer_is_marked_until_the_author_answers(
    browser: Browser, site: str, stage: PageStage
) -> None:
    name = f"asked-{uuid.uuid4().hex[:8]}"
    [question] = reactions(name, 1, text="When?", actor_id="ben")
    stage.send(post(name, text="Ask me"), question)
    with look_at(browser, f"{site}/post/{name}") as look:
        look.page.get_by_text("1 comment has no answer").or_(
            look.page.get_by_text("1 comment have no")
        ).first.wait_for()
        expect(look.page.locator(".thread li").first).to_contain_text("waits for an answer")
        stage.send(*reactions(name, 1, parent_id=question["event_id"], actor_id="ana", text="Now."))
        look.page.get_by_text("Everybody was answered.").wait_for()
        expect(look.page.locator(".thread")).to_contain_text("speaks for the brand")
        expect(look.page.locator(".thread")).not_to_contain_text("waits for an answer")


def test_hostile_text_is_text(browser: Browser, site: str, paths: dict[str, str]) -> None:
    for address in ("/post/hostile", paths["hostile author"], f"/search?q={quote(HOSTILE['author'][:40])}", "/"):
        with look_at(browser, site + address) as look:
            wait_until_drawn(look)
            assert look.page.evaluate("document.title") != "hacked"
            assert look.page.locator("main img, main script, main u, main b b, main a[href^='javascript']").count() == 0
            assert not look.overflows()
            shown = look.page.locator("main").inner_text()
            assert not any(sign in shown for sign in "\u202e\u2066\u200b")
            if address != "/":
                assert "<img src=x" in shown


def test_everything_is_reached_by_keys(browser: Browser, site: str) -> None:
    with look_at(browser, site) as look:
        wait_until_drawn(look)
        keys = look.page.keyboard
        keys.press("Tab")
        expect(look.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        keys.press("/")
        expect(look.page.get_by_role("searchbox")).to_be_focused()
        keys.type("#launch")
        keys.press("Enter")
        result = look.page.locator("main a", has_text="#launch").first
        result.focus()
        keys.press("Enter")
        look.page.wait_for_url("**/conversation/hashtag:launch")
        wait_until_drawn(look)
        day = look.page.get_by_role("button", name="24 h")
        day.focus()
        keys.press("Enter")
        expect(day).to_have_attribute("aria-pressed", "true")
        table = look.page.locator("summary", has_text="Show as a table")
        table.focus()
        keys.press("Enter")
        # The table is filled by an event that the browser sends after the details have opened.
        look.page.locator("details[open] tbody tr").nth(10).wait_for()


def test_an_empty_system_says_what_comes_next(browser: Browser, stage: PageStage, tmp_path: Path) -> None:
    empty = f"t{uuid.uuid4().hex[:12]}"
    server, _, _ = stage.environment["ENGAGEMENT_CLICKHOUSE"].rpartition("/")
    environment = dict(stage.environment) | {"ENGAGEMENT_CLICKHOUSE": f"{server}/{empty}"}
    with served(environment, tmp_path / "page.log") as url, look_at(browser, url) as look:
        look.page.get_by_role("heading", name="The tables are not there yet.").wait_for()
        expect(look.page.locator("main")).to_contain_text("engagement init")
        assert look.axe() == []


def test_a_server_that_goes_away_is_said_and_found_again(browser: Browser, stage: PageStage, tmp_path: Path) -> None:
    with served(stage.environment, tmp_path / "page.log") as url:
        port = url.rpartition(":")[2]
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        expect(page.locator("#fresh")).to_contain_text("Live", timeout=PATIENCE_MS)
    expect(page.locator("#fresh")).to_contain_text("Not connected", timeout=PATIENCE_MS)
    with served(stage.environment, tmp_path / "page.log", "--port", port):
        expect(page.locator("#fresh")).to_contain_text("final up to", timeout=PATIENCE_MS)
        context.close()


def test_a_token_is_asked_for(browser: Browser, stage: PageStage, tmp_path: Path) -> None:
    token, path = "a token of some words", "/conversation/hashtag:launch"
    environment = dict(stage.environment) | {"ENGAGEMENT_PAGE_TOKEN": token}
    with served(environment, tmp_path / "page.log") as url, look_at(browser, url + path) as look:
        look.page.get_by_label("Token").fill("a wrong one of some words")
        look.page.get_by_role("button").click()
        look.page.get_by_text("This is not the token").wait_for()
        assert look.axe() == []
        look.page.goto(url + path)
        look.page.get_by_label("Token").fill(token)
        look.page.get_by_role("button").click()
        look.page.get_by_role("heading", name="#launch").wait_for()
