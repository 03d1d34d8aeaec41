"""Pictures of alerts: what is drawn (truth: the pixels), bounds of size and time, and alerts without a picture."""

import asyncio
import logging
import sys
import threading
from collections.abc import Mapping
from io import BytesIO

import pytest
from PIL import Image

from pipeline.errors import Unavailable
from processors.alerts.connections import open_pictures
from processors.alerts.pictures import chart as drawing
from processors.alerts.pictures.album import Album, shown_minutes
from processors.alerts.pictures.chart import BAND, HEIGHT, LEFT, LINE, MOST_BYTES, RIGHT, USUAL, WIDTH, Chart, draw
from tests.fakes_alerts import T0, config_of, spike, until
from tests.patience import SOON
from tests.test_alert_agent import Thread

FIRST = int(T0) // 60 - 90
MAIL = {"kind": "email", "server": "127.0.0.1:25", "security": "none", "from": "a@team.example", "to": "b@team.example"}


class Minutes:
    """A MinuteSource that remembers what it was asked; `seconds`: how long it takes, unless it is released before."""

    def __init__(self, counts: Mapping[int, int], seconds: float = 0.0, error: Exception | None = None) -> None:
        self.counts, self.seconds, self.error = counts, seconds, error
        self.asked: list[tuple[str, int, int]] = []
        self.released = threading.Event()

    def minutes(self, conversation: str, first: int, last: int) -> Mapping[int, int]:
        self.asked.append((conversation, first, last))
        self.released.wait(self.seconds)
        if self.error is not None:
            raise self.error
        return self.counts


def columns_of(picture: bytes, color: str) -> set[int]:
    """The columns of pixels below the legend that have a color, or nearly so."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    wanted = tuple(int(color[number : number + 2], 16) for number in (1, 3, 5))
    return {
        x
        for x in range(WIDTH)
        for y in range(drawing.TOP, HEIGHT)
        if sum(abs(a - b) for a, b in zip(image.getpixel((x, y)), wanted, strict=True)) < 24  # type: ignore[arg-type]
    }


def minute_at(x: int, minutes: int) -> float:
    return (x - LEFT) / (WIDTH - LEFT - RIGHT) * minutes


def test_the_picture_marks_the_minutes_of_the_spike_and_the_usual_level() -> None:
    picture = draw(Chart({FIRST + 5: 3, FIRST + 80: 100}, FIRST, FIRST + 89, FIRST + 60, FIRST + 74, 50.0, "comments"))
    assert Image.open(BytesIO(picture)).size == (WIDTH, HEIGHT)
    band = columns_of(picture, BAND)
    assert (minute_at(min(band), 90), minute_at(max(band), 90)) == pytest.approx((60, 75), abs=0.5)
    assert len(columns_of(picture, USUAL)) > 0.4 * (WIDTH - LEFT - RIGHT), "a dashed line over the whole width"
    assert len(columns_of(picture, LINE)) > 0.95 * (WIDTH - LEFT - RIGHT)


@pytest.mark.parametrize("counts", [{}, {FIRST: 10**9}, dict.fromkeys(range(FIRST, FIRST + 360), 7)])
@pytest.mark.parametrize("minutes", [1, 90, 360])
def test_whatever_the_counts_the_picture_is_small(counts: dict[int, int], minutes: int) -> None:
    last = FIRST + minutes - 1
    picture = draw(Chart(counts, FIRST, last, FIRST - 9, last + 9, 1e-9, "comments and posts"))
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < MOST_BYTES / 2


def test_the_picture_shows_an_hour_before_the_spike_up_to_now_and_six_hours_at_most() -> None:
    now = int(T0) // 60
    assert shown_minutes(spike()) == (now - 90, now - 1)
    assert shown_minutes(spike(minute=60)) == (now - 61, now + 59)
    assert shown_minutes(spike(state="resolved", minute=900)) == (now + 900 - 360, now + 899)


def test_receivers_share_a_picture_and_a_new_state_has_its_own() -> None:
    source = Minutes({FIRST: 3})
    album = Album(source, Thread())

    async def work() -> list[bytes | None]:
        return await asyncio.gather(*(album.picture_of(alert) for alert in (spike(), spike(), spike(minute=5))))

    first, second, third = asyncio.run(work())
    assert first is second is not None
    assert third not in (None, first)
    assert [asked[0] for asked in source.asked] == ["hashtag:acme"] * 2


def test_an_alert_does_not_wait_for_a_picture_that_does_not_come(caplog: pytest.LogCaptureFixture) -> None:
    source = Minutes({}, seconds=3 * SOON)
    album = Album(source, Thread(), seconds=0.1)

    async def work() -> list[bytes | None]:
        async with asyncio.timeout(SOON):
            pictures = [await album.picture_of(spike(f"s{number}")) for number in range(3)]
        source.released.set()
        return pictures

    assert asyncio.run(work()) == [None] * 3
    assert caplog.text.count("goes without its picture") == 1, "said once"


def test_a_store_that_is_away_costs_the_picture_alone() -> None:
    source = Minutes({FIRST: 3}, error=Unavailable("away"))
    album = Album(source, Thread())

    async def work() -> list[bytes | None]:
        first = await album.picture_of(spike())
        source.error = None
        return [first, await album.picture_of(spike())]

    first, second = asyncio.run(work())
    assert first is None
    assert second is not None, "the failure is not kept"


def test_the_loop_goes_on_while_a_picture_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gone_on = threading.Event(), threading.Event()

    def slow(chart: Chart) -> bytes:
        begun.set()
        return b"\x89PNG" if gone_on.wait(SOON) else b""

    monkeypatch.setattr("processors.alerts.pictures.album.draw", slow)

    async def work() -> bytes | None:
        task = asyncio.create_task(Album(Minutes({}), Thread(), seconds=3 * SOON).picture_of(spike()))
        await until(begun.is_set)
        gone_on.set()
        return await task

    assert asyncio.run(work()) == b"\x89PNG"


def test_without_the_library_alerts_go_without_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of({"desk": MAIL, "room": {"kind": "email", **MAIL}})
    assert open_pictures(config, Minutes({}), Thread()) is not None
    monkeypatch.setitem(sys.modules, "PIL.ImageDraw", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with caplog.at_level(logging.WARNING):
        assert open_pictures(config, Minutes({}), Thread()) is None
    assert caplog.text.count("pip install 'engagement-pipeline[pictures]'") == 1
    assert [note for receiver in config.receivers.values() for note in receiver.notes] == [drawing.NO_PICTURES] * 2
    assert open_pictures(config_of({"desk": {**MAIL, "picture": False}}), Minutes({}), Thread()) is None
