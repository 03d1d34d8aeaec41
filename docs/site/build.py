"""Builds the documentation as a site: python docs/site/build.py [FOLDER], by default build/site.

The pages of docs/, README, CONTRIBUTING and CHANGELOG are taken as they are; the reference is made of code
(docs/site/reference.py). A link or an anchor that leads nowhere fails the build. Nothing is fetched: neither by the
build nor by the site.
"""

import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
REPOSITORY = "https://github.com/engagement-pipeline/engagement-pipeline"

SECTIONS: dict[str, tuple[str, ...]] = {
    "Tutorial": ("tutorial.md",),
    "How to": ("sources.md", "collector.md", "alerts.md", "operations.md", "privacy.md"),
    "Reference": (
        "reference-commands.md",
        "settings.md",
        "reference-tables.md",
        "reference-topics.md",
        "reference-metrics.md",
    ),
    "Explanation": ("architecture.md", "metrics.md", "spikes.md", "glossary.md", "dependencies.md"),
    "Project": ("contributing.md", "changelog.md"),
}
"""Sections of the site. A page of docs/ that stands in none comes under `How to`."""

FILES_OF_ROOT = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""Page of the site -> file of the project's root."""

MARKDOWN: list[Any] = [
    "tables",
    "fenced_code",
    "sane_lists",
    "md_in_html",
    {"pymdownx.highlight": {"use_pygments": True}},
    "pymdownx.superfences",
    {"toc": {"permalink": True, "slugify": "!slug"}},
]


def build(folder: Path) -> None:
    """Builds the site into `folder`. Raises SystemExit with the links that lead nowhere."""
    from reference import PAGES

    pages = folder.with_name(f"{folder.name}-pages")
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    for path in [*DOCS.glob("*.md"), *DOCS.glob("*.svg"), *DOCS.glob("*.json")]:
        shutil.copy(path, pages)
    for folder_of_pictures in (path for path in (DOCS / "pictures", DOCS / "screenshots") if path.is_dir()):
        shutil.copytree(folder_of_pictures, pages / folder_of_pictures.name)
    for name, source in FILES_OF_ROOT.items():
        shutil.copy(ROOT / source, pages / name)
    for name, make in PAGES.items():
        (pages / name).write_text(make())
    for page in pages.glob("*.md"):
        is_of_root = page.name in FILES_OF_ROOT
        page.write_text(relinked(page.read_text(), ROOT if is_of_root else DOCS))
    _run_mkdocs(pages, folder)


def relinked(text: str, base: Path) -> str:
    """Returns a page whose links lead to pages of the site, or to the repository for any other file. `base`: the folder
    in which the page stands."""

    def lead(found: re.Match[str]) -> str:
        target, _, anchor = found[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        path = Path(os.path.normpath(base / target))
        for name, source in FILES_OF_ROOT.items():
            if path == ROOT / source:
                return f"{found[1]}{name}{'#' + anchor if anchor else ''}{found[3]}"
        if path.is_relative_to(DOCS) and path.suffix in (".md", ".svg", ".png", ".json"):
            return f"{found[1]}{path.relative_to(DOCS)}{'#' + anchor if anchor else ''}{found[3]}"
        kind = "tree" if path.is_dir() else "blob"
        return f"{found[1]}{REPOSITORY}/{kind}/main/{path.relative_to(ROOT)}{'#' + anchor if anchor else ''}{found[3]}"

    text = re.sub(r"(\]\()([^)\s]+)(\))", lead, text)
    return re.sub(r"((?:src|srcset)=\")([^\"\s]+)(\")", lead, text)


def _run_mkdocs(pages: Path, folder: Path) -> None:
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    listed = {page for names in SECTIONS.values() for page in names} | {"index.md"}
    others = sorted(page.name for page in pages.glob("*.md") if page.name not in listed)
    sections = {**SECTIONS, "How to": (*SECTIONS["How to"], *others)}
    config_file = pages.with_suffix(".yml")
    warn = {"not_found": "warn", "anchors": "warn", "absolute_links": "warn", "unrecognized_links": "warn"}
    config: dict[str, Any] = {
        "site_name": "engagement-pipeline",
        "docs_dir": str(pages),
        "site_dir": str(folder),
        "use_directory_urls": False,
        "theme": _theme(),
        "plugins": ["search"],
        "markdown_extensions": MARKDOWN,
        "validation": {"nav": {"omitted_files": "warn", "not_found": "warn"}, "links": warn},
        "nav": [{"Home": "index.md"}, *({title: list(names)} for title, names in sections.items())],
    }
    # The tag of a Python function: GitHub and the site name the headings alike.
    slug = "!!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}"
    config_file.write_text(yaml.safe_dump(config, sort_keys=False).replace("'!slug'", slug))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        build_site(load_config(str(config_file), strict=True))
    except Abort as error:
        raise SystemExit(f"docs: {error}; the warnings above name page and link") from None


def _theme() -> dict[str, Any]:
    """Returns the look of the site: light or dark as the reader's system says, fonts of the system."""
    palette = [
        {"media": f"(prefers-color-scheme: {mode})", "scheme": scheme, "primary": "blue grey", "accent": "blue"}
        for mode, scheme in (("light", "default"), ("dark", "slate"))
    ]
    return {
        "name": "material",
        "font": False,
        "palette": palette,
        "features": ["navigation.sections", "content.code.copy", "search.highlight", "toc.follow"],
    }


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/site").resolve()
    build(target)
    print(target / "index.html")
