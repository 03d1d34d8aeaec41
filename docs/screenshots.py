"""Takes the pictures of the live page for README and docs, from a seeded run: python docs/screenshots.py.

Starts a stack of its own in .engagement/pictures, counts a simulated day and some live minutes with a spike, opens the
page in Chromium and writes docs/pictures/page-*.png. SHOTS is the table of pictures. Needs the extras `embedded` and
`dev`, and a Chromium (Debian: apt-get install chromium).
"""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from playwright.sync_api import Browser, expect, sync_playwright

import deploy
from pipeline.clickhouse.client import ClickHouse
from pipeline.demo.page import BackgroundCommand, open_page
from pipeline.demo.stage import Worker, run_command
from pipeline.embedded.stack import Stack
from pipeline.settings import Settings, load_settings

FOLDER: Final = Path(".engagement/pictures")
PICTURES: Final = Path(__file__).with_name("pictures")
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
DAY: Final = ("--events", "200000", "--posts", "4000", "--seed", "7", "--hours", "24", "--start", "now")
LIVE: Final = ("simulate", "--live", "25", "--seed", "7", "--spike", "hashtag:launch@1x40")
SETTLE_MS: Final = 5000
DESKTOP: Final = (1280, 832)
PHONE: Final = (390, 844)


@dataclass(frozen=True)
class Shot:
    """A picture: its name, the path of the view ({post}, {spike}: those that most happens to), the window, the scheme,
    and the element that the picture begins with, if it is not the top."""

    name: str
    path: str
    window: tuple[int, int] = DESKTOP
    scheme: str = "light"
    scroll_to: str = ""


SHOTS: Final = (
    Shot("page-light", "/"),
    Shot("page-dark", "/", scheme="dark"),
    Shot("page-post-light", "/post/{post}", (1280, 700)),
    Shot("page-post-dark", "/post/{post}", (1280, 700), scheme="dark"),
    Shot("page-cascade-light", "/post/{post}", (1280, 640), scroll_to=".cascade"),
    Shot("page-cascade-dark", "/post/{post}", (1280, 640), scheme="dark", scroll_to=".cascade"),
    Shot("page-spike-light", "/spike/{spike}"),
    Shot("page-spike-dark", "/spike/{spike}", scheme="dark"),
    Shot("page-phone-light", "/", PHONE),
    Shot("page-phone-dark", "/", PHONE, scheme="dark"),
)


@click.command(epilog="Example: python docs/screenshots.py --minutes 3")
@click.option("--minutes", default=4.0, show_default=True, help="How long the live simulation goes on before.")
@click.option("--page", help="Address of a page that is served already, on what ENGAGEMENT_CLICKHOUSE names.")
@click.option("--to", "folder", type=click.Path(path_type=Path), default=PICTURES, show_default=True)
def take_pictures(minutes: float, page: str | None, folder: Path) -> None:
    """Take the pictures of the live page from a seeded run."""
    folder.mkdir(parents=True, exist_ok=True)
    if page is not None:
        take_all(page, load_settings(), folder)
        return
    with running() as (environment, settings), open_page(environment, FOLDER / "page.log") as address:
        live = BackgroundCommand(LIVE, environment, FOLDER / "live.log")
        try:
            time.sleep(60 * minutes)
            take_all(address, settings, folder)
        finally:
            live.stop()


def take_all(address: str, settings: Settings, folder: Path) -> None:
    """Takes all SHOTS."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None) or sys.exit("no Chromium is installed")
    names = subjects(settings)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for shot in SHOTS:
            take(browser, address, shot, names, folder)
            click.echo(folder / f"{shot.name}.png")
        browser.close()


@contextmanager
def running() -> Iterator[tuple[Mapping[str, str], Settings]]:
    """Runs a stack with a counted day, and a worker."""
    stack = Stack(FOLDER)
    stack.down()
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        addresses = stack.up()
        brands = Path(deploy.__file__).with_name("brands.example.yaml")
        environment = addresses.environment() | {"ENGAGEMENT_BRANDS": str(brands)}
        run_command(["init"], environment)
        sent = run_command(["simulate", *DAY], environment)
        worker = Worker(environment, FOLDER / "worker.log")
        try:
            worker.wait_ready()
            worker.wait_until_judged(sent["total"], 300)
            yield environment, Settings(clickhouse=addresses.clickhouse)
        finally:
            worker.stop()
    finally:
        stack.down()


def subjects(settings: Settings) -> dict[str, str]:
    """Returns the post that is shared most, and the newest spike of the planted conversation."""
    queries = {
        "post": "SELECT post_id FROM post_metrics_v ORDER BY share_depth >= 4 DESC, shares DESC LIMIT 1",
        "spike": "SELECT spike_id FROM conversation_spikes_v "
        "ORDER BY conversation = 'hashtag:launch' DESC, started_at DESC LIMIT 1",
    }
    with ClickHouse(settings) as client:
        return {name: str(client.select(sql)[0][0]) for name, sql in queries.items()}


def take(browser: Browser, address: str, shot: Shot, names: Mapping[str, str], folder: Path) -> None:
    """Opens a view and writes its picture."""
    width, height = shot.window
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=shot.scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
        device_scale_factor=2 if width < 600 else 1,
    )
    page = context.new_page()
    page.goto(address + shot.path.format(**names))
    page.locator("main h1").wait_for()
    expect(page.locator("main")).not_to_contain_text("Counting.", timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    if shot.scroll_to:
        card = f"main section:has({shot.scroll_to})"
        page.locator(card).evaluate("card => scrollTo(0, card.getBoundingClientRect().top + scrollY - 70)")
        page.wait_for_timeout(500)
    page.screenshot(path=folder / f"{shot.name}.png")
    context.close()


if __name__ == "__main__":
    take_pictures()
