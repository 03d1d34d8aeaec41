"""Business hours: their days, their zone's changes of the clock, and a day until its end."""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from processors.engagement.business_hours import BusinessHours


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_business_hours_follow_the_clocks(zone: str) -> None:
    hours = BusinessHours("09:00-17:30", "1-5", zone)
    # Every 7 minutes around both changes of the clock of 2026, and at random until 2105.
    around = [datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 10, 11)]
    minutes = [int(at.timestamp()) // 60 + step for at in around for step in range(0, 60 * 24 * 30, 7)]
    minutes += random.Random(1).sample(range(71_000_000), 5_000)
    local = [datetime.fromtimestamp(minute * 60, ZoneInfo(zone)) for minute in minutes]
    true = [at.isoweekday() < 6 and (9, 0) <= (at.hour, at.minute) < (17, 30) for at in local]
    assert hours.contains(np.array(minutes)).tolist() == true


def test_business_hours_on_the_night_of_the_change() -> None:
    # Berlin, 2026-03-29: 01:59 is followed by 03:00, so 02:00 to 03:00 never is; UTC 01:00 is 03:00.
    hours = BusinessHours("02:00-03:00", "7", "Europe/Berlin")
    night = int(datetime(2026, 3, 29, tzinfo=UTC).timestamp()) // 60
    assert not hours.contains(np.arange(night, night + 180)).any()
    # 2026-10-25: 02:00 to 03:00 is twice, UTC 00:00 to 02:00.
    night = int(datetime(2026, 10, 25, tzinfo=UTC).timestamp()) // 60
    assert hours.contains(np.arange(night - 60, night + 180)).tolist() == [False] * 60 + [True] * 120 + [False] * 60


@pytest.mark.parametrize(
    ("days", "weekdays"),
    [
        ("7-4", {1, 2, 3, 4, 7}),
        ("6-2,4", {1, 2, 4, 6, 7}),
        ("7-1", {1, 7}),
        ("5-4", {1, 2, 3, 4, 5, 6, 7}),
        ("7-7", {7}),
        ("1-7", {1, 2, 3, 4, 5, 6, 7}),
        ("3,2,7", {2, 3, 7}),
    ],
)
def test_a_range_of_days_goes_over_the_end_of_the_week(days: str, weekdays: set[int]) -> None:
    monday = 19_723 * 1440  # 2024-01-01
    minutes = np.array([monday + day * 1440 + 600 for day in range(14)])
    inside = BusinessHours("09:00-17:00", days).contains(minutes).tolist()
    assert inside == [day % 7 + 1 in weekdays for day in range(14)]


def test_a_day_until_its_end() -> None:
    whole = BusinessHours("00:00-24:00", "1-7")
    assert whole.contains(np.arange(3 * 1440)).all()
