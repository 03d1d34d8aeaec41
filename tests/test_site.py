"""The documentation as a site: it is built, everything in it leads somewhere, and nothing comes from elsewhere. Truth
is what stands in the HTML."""

import shutil
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from deploy.clickhouse.views import all_views
from pipeline.cli import all_commands
from pipeline.settings import Settings
from schemas.tables import TABLES
from schemas.topics import Topics

ROOT = Path(__file__).parent.parent


class Page(HTMLParser):
    """The ids of a page, where its links lead, what it loads, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given["href"])
        self.loads += [given[name] for name in ("src", "srcset") if name in given]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def run_build(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "docs/site/build.py", folder], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    folder = tmp_path_factory.mktemp("documentation") / "site"
    done = run_build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Page(path.read_text()) for path in folder.rglob("*.html") if path.name != "404.html"}


def test_every_page_is_there(pages: dict[Path, Page]) -> None:
    names = {path.stem for path in pages}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= names
    assert {"index", "tutorial", "contributing", "changelog", "reference-commands", "reference-tables"} <= names


def test_every_link_and_anchor_leads_somewhere(pages: dict[Path, Page]) -> None:
    wrong = defaultdict(list)
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids
            ):
                wrong[path.name].append(link)
    assert dict(wrong) == {}
    assert sum(len(page.links) for page in pages.values()) > 1_000


def test_links_to_the_repository_name_files_that_are_there(pages: dict[Path, Page]) -> None:
    base = "https://github.com/engagement-pipeline/engagement-pipeline/"
    targets = {
        link for page in pages.values() for link in page.links if link.startswith((f"{base}blob/", f"{base}tree/"))
    }
    assert len(targets) >= 3
    for target in targets:
        path = unquote(urlsplit(target).path).split("/main/", 1)[1]
        assert (ROOT / path).exists(), target


def test_the_site_loads_nothing_from_elsewhere(pages: dict[Path, Page]) -> None:
    foreign = {load for page in pages.values() for load in page.loads if urlsplit(load).scheme in ("http", "https")}
    assert foreign == set()


def test_the_reference_has_everything(pages: dict[Path, Page]) -> None:
    texts = {path.stem: " ".join(page.words) for path, page in pages.items()}
    ids = {path.stem: page.ids for path, page in pages.items()}
    for name in all_commands():
        assert f"engagement-{name}" in ids["reference-commands"]
    for name in [*(table.name for table in TABLES), *(view.name for view in all_views())]:
        assert name in ids["reference-tables"]
    for column in (column for table in TABLES for column in table.columns):
        assert column.name in texts["reference-tables"]
    for topic in (*Topics().sources, Topics().conversations, Topics().alerts, Topics().dead_letters):
        assert topic in texts["reference-topics"]
    for setting in Settings.model_fields:
        assert f"ENGAGEMENT_{setting.upper()}" in texts["settings"]
    assert "engagement_alerts_waiting" in texts["reference-metrics"]


BROKEN = {
    "[x](no-such.md)": "no-such.md",
    "[x](settings.md#no-anchor)": "no-anchor",
    "![x](pictures/no-picture.svg)": "no-picture",
}
"""Links that lead nowhere, each with what the build says of it."""


def test_broken_links_fail_the_build(tmp_path: Path) -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for package in ("schemas", "pipeline", "producers", "processors", "deploy"):
        (tmp_path / package).symlink_to(ROOT / package)
    with (tmp_path / "docs/glossary.md").open("a") as page:
        page.write("\n" + "\n\n".join(BROKEN) + "\n")
    done = run_build(tmp_path, tmp_path / "build/site")
    assert done.returncode == 1
    told = [line for line in (done.stdout + done.stderr).splitlines() if "glossary.md" in line]
    for said in BROKEN.values():
        assert any(said in line for line in told), said
