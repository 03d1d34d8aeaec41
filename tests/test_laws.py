"""The laws have one numbering, and whoever refers to one finds it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("schemas", "pipeline", "producers", "processors", "deploy", "docs", "benchmarks", "tests")
REFERENCE = re.compile(r"\blaws? (\d+)(?: (?:and|to) (\d+))?", re.IGNORECASE)
LAW = re.compile(r"^(\d+)\. \*\*", re.MULTILINE)


def _laws() -> list[int]:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    return [int(number) for number in LAW.findall(page.partition("## Laws")[2].partition("\n## ")[0])]


def test_there_is_one_numbering() -> None:
    assert _laws() == list(range(1, 12))
    elsewhere = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    headed = [page.name for page in elsewhere if "## Laws" in page.read_text(encoding="utf-8")]
    assert headed == ["CONTRIBUTING.md", "architecture.md"]
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Laws")[2].partition("\n## ")[0]
    assert not re.search(r"^\d+\.", section, re.MULTILINE), "numbered twice"


def test_every_reference_resolves() -> None:
    files = [
        path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".md", ".sql", ".yaml")
    ]
    found = [
        (path.relative_to(ROOT), int(number))
        for path in [*files, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
        for numbers in REFERENCE.findall(path.read_text(encoding="utf-8", errors="replace"))
        for number in numbers
        if number
    ]
    assert len(found) > 20
    assert [place for place in found if place[1] not in _laws()] == []
