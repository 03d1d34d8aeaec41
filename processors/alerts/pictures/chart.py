"""Drawing of a spike: the counts of the minutes around it, the usual level, and the time of the spike. Pure, but for
the library (Pillow, an extra). The picture holds no text of strangers.

The ground is opaque and light, and no part is told by colour alone, so the picture reads the same in dark and in light
mail programs and chats. Everything is drawn at twice the size at which it is shown.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from schemas.alert_words import in_digits

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH: Final = 1200
HEIGHT: Final = 420
LEFT, RIGHT, TOP, BOTTOM = 110, 24, 64, 52
"""Margins of the plot."""

MOST_MINUTES: Final = 360
MOST_BYTES: Final = 65_536
"""A larger picture is not sent. Pictures have some 6 to 12 kB."""

NO_PICTURES: Final = (
    "goes without pictures: Pillow is not installed; pip install 'engagement-pipeline[pictures]', or say picture: false"
)

TEXT_SIZE: Final = 22
GROUND: Final = "#ffffff"
INK: Final = "#1f2933"
FAINT: Final = "#6b7785"
GRID: Final = "#dde2e8"
LINE: Final = "#0b5cad"
FILL: Final = "#cfe1f5"
USUAL: Final = "#6b4a00"
BAND: Final = "#ffe3bf"
COLORS: Final = 64

TICK_MINUTES: Final = (5, 10, 15, 30, 60, 120)
MOST_TICKS: Final = 8


class Chart(NamedTuple):
    """The content of a picture. Minutes are since 1970. `counts`: of minutes that have any. `first`, `last`: the shown
    minutes. `begins`, `ends`: the minutes of the spike. `usual`: the usual count of a minute. `counted`: the noun."""

    counts: Mapping[int, int]
    first: int
    last: int
    begins: int
    ends: int
    usual: float
    counted: str


class _Scale(NamedTuple):
    """The place of minutes and counts in the picture."""

    first: int
    last: int
    top: int

    def x(self, minute: float) -> float:
        return LEFT + (minute - self.first) / max(self.last + 1 - self.first, 1) * (WIDTH - LEFT - RIGHT)

    def y(self, count: float) -> float:
        return HEIGHT - BOTTOM - count / self.top * (HEIGHT - TOP - BOTTOM)


def is_drawable() -> bool:
    """Tells whether the library is installed."""
    try:
        import PIL.ImageDraw  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def draw(chart: Chart) -> bytes:
    """Returns the picture as PNG of WIDTH times HEIGHT pixels. Takes some 10 ms; blocks."""
    from PIL import Image, ImageDraw, ImageFont

    counts = [max(0, chart.counts.get(minute, 0)) for minute in range(chart.first, chart.last + 1)]
    scale = _Scale(chart.first, chart.last, nice_top(max([1.0, chart.usual, *counts])))
    image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(TEXT_SIZE)
    _draw_band(pen, scale, chart)
    _draw_axes(pen, scale, font)
    corners = [
        corner
        for number, count in enumerate(counts)
        for corner in (
            (scale.x(chart.first + number), scale.y(count)),
            (scale.x(chart.first + number + 1), scale.y(count)),
        )
    ]
    pen.polygon([(corners[0][0], scale.y(0)), *corners, (corners[-1][0], scale.y(0))], fill=FILL)
    pen.line(corners, fill=LINE, width=4, joint="curve")
    for start in range(LEFT, WIDTH - RIGHT, 24):
        pen.line([(start, scale.y(chart.usual)), (min(start + 14, WIDTH - RIGHT), scale.y(chart.usual))], USUAL, 3)
    _draw_words(pen, chart, font)
    buffer = BytesIO()
    image.quantize(COLORS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def nice_top(most: float) -> int:
    """Returns the end of an axis for values up to `most`: a multiple of the distance of its ticks.

    >>> [nice_top(most) for most in (1, 3.5, 80, 131, 4_200)]
    [1, 4, 80, 150, 5000]
    """
    step: int = tick_step(most)
    return step * math.ceil(most / step)


def tick_step(most: float) -> int:
    """Returns the distance of the ticks of an axis up to `most`: 1, 2 or 5 times a power of ten, at most five ticks.

    >>> [tick_step(most) for most in (1, 5, 6, 80, 131, 4_200)]
    [1, 1, 2, 20, 50, 1000]
    """
    powers = (int(10**number) for number in range(16))
    return next(step for power in powers for step in (power, 2 * power, 5 * power) if most / step <= 5)


def _draw_band(pen: "ImageDraw", scale: _Scale, chart: Chart) -> None:
    """Marks the time of the spike: a band with a line at its beginning."""
    left, right = scale.x(max(chart.begins, chart.first)), scale.x(min(chart.ends, chart.last) + 1)
    pen.rectangle([(left, TOP), (max(right, left + 6), HEIGHT - BOTTOM)], fill=BAND)
    pen.line([(left, TOP), (left, HEIGHT - BOTTOM)], fill=INK, width=2)


def _draw_axes(pen: "ImageDraw", scale: _Scale, font: Any) -> None:
    step = tick_step(scale.top)
    for number in range(round(scale.top / step) + 1):
        height = scale.y(number * step)
        pen.line([(LEFT, height), (WIDTH - RIGHT, height)], fill=GRID, width=1)
        pen.text((LEFT - 14, height), in_digits(number * step), fill=FAINT, font=font, anchor="rm")
    minutes = scale.last + 1 - scale.first
    spacing = next((each for each in TICK_MINUTES if minutes / each <= MOST_TICKS), TICK_MINUTES[-1])
    for minute in range(-(-scale.first // spacing) * spacing, scale.last + 2, spacing):
        at = scale.x(minute)
        pen.line([(at, HEIGHT - BOTTOM), (at, HEIGHT - BOTTOM + 8)], fill=FAINT, width=2)
        if LEFT + 30 < at < WIDTH - 40:
            pen.text((at, HEIGHT - BOTTOM + 14), _clock(minute), fill=FAINT, font=font, anchor="ma")
    pen.line([(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)], fill=FAINT, width=2)


def _draw_words(pen: "ImageDraw", chart: Chart, font: Any) -> None:
    """Writes the legend above the plot."""
    at: float = LEFT
    for text, color, mark in (
        (f"{chart.counted} a minute, UTC", INK, LINE),
        (f"usual: {in_digits(chart.usual)} a minute", INK, USUAL),
        (f"spike: {_clock(chart.begins)} to {_clock(chart.ends + 1)}", INK, BAND),
    ):
        dashes = ((0, 12), (18, 30)) if mark == USUAL else ((0, 30),)
        for (begins, ends), width in ((dash, 18 if mark == BAND else 5) for dash in dashes):
            pen.line([(at + begins, TOP / 2), (at + ends, TOP / 2)], fill=mark, width=width)
        pen.text((at + 42, TOP / 2), text, fill=color, font=font, anchor="lm")
        at += 42 + pen.textlength(text, font=font) + 36


def _clock(minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%H:%M}"
