"""What the documents say is so: links lead somewhere, lists are complete, settings are the real ones, commands and
metrics exist."""

import re
import runpy
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from deploy.clickhouse.views import all_views
from pipeline.cli import all_commands
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.demo.command import NEXT_STEPS
from pipeline.observability.metrics import BATCH_STEPS, EVENT_OUTCOMES, MEMORY_PARTS, WorkerMetrics
from pipeline.observability.source_metrics import SourceMetrics
from pipeline.settings import Settings
from producers.sources import SOURCES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
README = (ROOT / "README.md").read_text()


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_settings_page_is_up_to_date() -> None:
    generator = runpy.run_path(str(ROOT / "docs/settings.py"))
    page = (ROOT / "docs/settings.md").read_text()
    assert page == generator["render"](), "run: python docs/settings.py"
    assert set(re.findall(r"^\| `ENGAGEMENT_(\w+)`", page, re.MULTILINE)) == {
        name.upper() for name in Settings.model_fields
    }


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings], target


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_paths_exist(page: Path) -> None:
    rooms = r"(?:schemas|pipeline|producers|processors|deploy|docs|benchmarks|tests)"
    for path in re.findall(rf"\b({rooms}/[\w./-]*\w/?)", page.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_commands_exist(page: Path) -> None:
    in_code = re.findall(r"`engagement ([a-z-]+)", page.read_text())
    in_blocks = re.findall(r"^ {4}(?:eval \"\$\()?engagement ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(in_code) | set(in_blocks) <= all_commands().keys()


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target for page in PAGES for target in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "test-unit", "setup", "help"} <= named
    assert named <= targets


def test_the_demo_ends_with_commands_that_exist() -> None:
    named = re.findall(r"\bengagement ([a-z-]+)", " ".join(NEXT_STEPS))
    assert named == ["stack", "init", "work", "bluesky"]
    assert set(named) <= all_commands().keys()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_settings_exist(page: Path) -> None:
    named = set(re.findall(r"\bENGAGEMENT_([A-Z_]+)\b", page.read_text()))
    assert named <= {name.upper() for name in Settings.model_fields}


def test_every_metric_is_listed() -> None:
    families = WorkerMetrics().registry.collect()
    names = {f.name + ("_total" if f.type == "counter" else "") for f in families if f.name.startswith("engagement_")}
    listed = set(re.findall(r"`(engagement_[a-z_]+)", OPERATIONS))
    assert len(names) >= 18
    assert listed == names
    for word in (*EVENT_OUTCOMES, *BATCH_STEPS, *MEMORY_PARTS):
        assert f"`{word}`" in OPERATIONS


def test_every_metric_of_a_source_is_listed() -> None:
    page = (ROOT / "docs/sources.md").read_text()
    families = [f for f in SourceMetrics().registry.collect() if f.name.startswith("engagement_source_")]
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert len(names) >= 10
    assert names == set(re.findall(r"`(engagement_source_[a-z_]+)", page))


def test_every_source_is_described() -> None:
    table = (ROOT / "docs/sources.md").read_text().split("## What each gives")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == SOURCES.keys()


def test_views_of_the_readme_are_there() -> None:
    rows = re.findall(r"^\| (`\w+_v`.*?) \|", README.split("## Ask it")[1], re.MULTILINE)
    views = re.findall(r"`(\w+_v)`", " ".join(rows))
    assert len(views) >= 10
    assert set(views) <= {view.name for view in all_views()}


def test_the_first_screen_has_the_two_commands() -> None:
    first = "\n".join(README.splitlines()[:20])
    for needed in ("make demo", "make test", "architecture.svg"):
        assert needed in first


def test_numbers_of_benchmarks_name_their_command() -> None:
    section = README.split("## Benchmarks")[1].split("\n## ")[0]
    commands = re.findall(r"^ {4}python (benchmarks/\w+\.py)", section, re.MULTILINE)
    assert commands
    assert all((ROOT / command).is_file() for command in commands)


def test_the_picture_is_well_formed_and_says_what_it_shows() -> None:
    picture = (ROOT / "docs/architecture.svg").read_text()
    root = ElementTree.fromstring(picture)
    svg = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{svg}title")
    assert root.findtext(f"{svg}desc")
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [
        {k: float(v) for k, v in r.attrib.items() if k in ("x", "y", "width", "height")}
        for r in root.iter(f"{svg}rect")
    ]
    assert len(boxes) > 20
    for box in boxes:
        assert left <= box.get("x", 0) <= box.get("x", 0) + box["width"] <= left + width
        assert top <= box.get("y", 0) <= box.get("y", 0) + box["height"] <= top + height
    assert _overlaps([box for box in boxes if box["width"] < 300 and box["height"] < 100]) == []


def _overlaps(boxes: list[dict[str, float]]) -> list[tuple[Any, Any]]:
    """Pairs that cross: neither apart nor one inside the other."""
    return [
        (a, b)
        for number, a in enumerate(boxes)
        for b in boxes[:number]
        if _touch(a, b) and not _holds(a, b) and not _holds(b, a)
    ]


def _touch(a: dict[str, float], b: dict[str, float]) -> bool:
    return all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in (("x", "width"), ("y", "height")))


def _holds(a: dict[str, float], b: dict[str, float]) -> bool:
    return all(a[at] <= b[at] and b[at] + b[size] <= a[at] + a[size] for at, size in (("x", "width"), ("y", "height")))


@pytest.mark.stack
def test_the_readmes_sql_runs(settings: Settings) -> None:
    queries = re.findall(r"^```sql\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(queries) >= 5
    migrate(settings)
    with ClickHouse(settings) as client:
        now = int(time.time())
        client.insert("post_metrics", {"post_id": ["p-1"], "as_of": [now], "likes": [3], "version": [1]})
        assert client.select(queries[0])[0] == ["p-1"]
        for query in queries[1:]:
            client.select(query)


def test_the_changelog_keeps_its_format() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
