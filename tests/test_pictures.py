"""The pictures of the documentation: the same in every program, light and dark."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
THEMES = runpy.run_path(str(ROOT / "docs/themes.py"))
LIGHT: list[Path] = THEMES["light_pictures"]()
ALL = [*LIGHT, *(THEMES["dark_path"](picture) for picture in LIGHT)]
SHAPES = {"rect", "path", "circle", "ellipse", "polygon", "line", "polyline", "text"}
SVG = "{http://www.w3.org/2000/svg}"


def name_of(picture: Path) -> str:
    return str(picture.relative_to(ROOT))


@pytest.mark.parametrize("picture", ALL, ids=name_of)
def test_every_color_stands_at_its_element(picture: Path) -> None:
    """A program without style sheets draws what has no color in black."""
    text = picture.read_text()
    assert not re.search(r"<style|currentColor|prefers-color-scheme|\bclass=|var\(", text)
    root = ElementTree.fromstring(text)
    defined = {node for definition in root.iter(f"{SVG}defs") for node in definition.iter()}
    clips = {node for clip in root.iter(f"{SVG}clipPath") for node in clip.iter()}
    black = [
        ElementTree.tostring(node).decode()[:100]
        for node in root.iter()
        if node.tag.removeprefix(SVG) in SHAPES
        and node not in defined
        and node not in clips
        and "fill" not in node.attrib
        and not re.search(r"\bfill\s*:", node.attrib.get("style", ""))
    ]
    assert black == []


@pytest.mark.parametrize("picture", LIGHT, ids=name_of)
def test_the_dark_version_is_up_to_date(picture: Path) -> None:
    drawing = picture.read_text()
    assert THEMES["explicit"](drawing) == drawing, "run: python docs/themes.py"
    assert THEMES["dark_path"](picture).read_text() == THEMES["dark"](drawing), "run: python docs/themes.py"


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="needs rsvg-convert (apt-get install librsvg2-bin)")
@pytest.mark.parametrize("picture", ALL, ids=name_of)
def test_the_ground_is_opaque_and_of_the_theme(picture: Path, tmp_path: Path) -> None:
    """Truth is what librsvg draws: the ground is light or dark, and a reader can tell the rest from it."""
    drawn = tmp_path / "drawn.png"
    subprocess.run(["rsvg-convert", "-o", drawn, picture], check=True)
    image = Image.open(drawn).convert("RGBA").resize((200, 100))
    pixels = [image.getpixel((x, y)) for x in range(5, 195) for y in range(5, 95)]
    assert all(pixel[3] == 255 for pixel in pixels)  # type: ignore[index]
    lightness = sorted(sum(pixel[:3]) / 3 for pixel in pixels)  # type: ignore[index]
    middle = lightness[len(lightness) // 2]
    assert middle < 60 if picture.name.endswith("-dark.svg") else middle > 220
    assert lightness[-1] - lightness[0] > 80


def test_readme_chooses_by_the_readers_theme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert '<source media="(prefers-color-scheme: dark)" srcset="docs/architecture-dark.svg">' in readme
