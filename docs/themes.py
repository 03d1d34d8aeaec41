"""Writes the dark version of each picture of the documentation, `NAME-dark.svg`: python docs/themes.py.

Each color of a picture is an attribute or an inline style of its element, and each picture has a ground: no style
sheet, no media query, no currentColor. So every program draws the same. `<picture>` chooses by the reader's theme.
tests/test_pictures.py fails while a dark version is out of date.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parent
DARK = "-dark.svg"

DARK_COLORS = {
    "#000000": "#e8edf2",
    "#1f2933": "#e8edf2",
    "#52606d": "#a7b3bf",
    "#7a858f": "#8d99a5",
    "#8a949e": "#6b7885",
    "#808080": "#8d99a5",
    "#ffffff": "#14181d",
    "#f1f3f5": "#1d232a",
    "#e3f0ff": "#1c3a5c",
    "#2f74c0": "#6aaef5",
    "#fdecea": "#4a2623",
    "#3b6ea8": "#6aaef5",
    "#b9cfe6": "#2c4a6b",
    "#d9822b": "#f0a04b",
    "#b3261e": "#f28b82",
}
"""Color of a light picture -> color of the dark one."""

SHEET = re.compile(r" *<style type=\"text/css\">\*\{stroke-linejoin: round; stroke-linecap: butt\}</style>\n")


def light_pictures() -> list[Path]:
    """Returns the pictures as they were drawn."""
    pictures = sorted([*DOCS.glob("*.svg"), *(DOCS / "pictures").glob("*.svg")])
    return [picture for picture in pictures if not picture.name.endswith(DARK)]


def dark_path(picture: Path) -> Path:
    """Returns the file of a picture's dark version."""
    return picture.with_name(picture.stem + DARK)


def explicit(drawing: str) -> str:
    """Returns a drawing of matplotlib without its style sheet, and with the color of each text."""
    drawing, sheets = SHEET.subn("", drawing)
    if sheets:
        drawing = drawing.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)
    return re.sub(r"<text(?![^>]*\bfill\b)([ >])", r'<text fill="#000000"\1', drawing)


def dark(drawing: str) -> str:
    """Returns the dark version of a drawing. Raises KeyError for a color that has no dark counterpart."""
    return re.sub(r"#[0-9a-f]{6}\b", lambda color: DARK_COLORS[color[0]], drawing)


def main() -> None:
    for picture in light_pictures():
        drawing = explicit(picture.read_text())
        picture.write_text(drawing)
        dark_path(picture).write_text(dark(drawing))
        print(dark_path(picture))


if __name__ == "__main__":
    main()
