"""What the page says of numbers, from the windows themselves."""

from typing import Any

import pytest

from pipeline.page.parts.words import came_true, change_in_words, forecast_in_words, reasons_of_rise, trend_of


def windows(**hours: tuple[int, int]) -> dict[str, Any]:
    """A row whose measures had so much in the hour before last and the last hour."""
    row: dict[str, Any] = {
        "forecast_shares_next_1h": None,
        "reproduction": None,
        "shares": 0,
        "share_depth": 0,
    }
    for measure in ("likes", "shares", "comments"):
        old, new = hours.get(measure, (0, 0))
        # As docs/metrics.md defines them.
        row |= {
            f"{measure}_1h": new,
            f"{measure}_acceleration_1h": (new - old) / 60**2,
            f"{measure}_z_1h": (new - old) / (new + old) ** 0.5 if new + old > 0 else None,
        }
    return row


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (0, 0, ""),
        (3, 4, ""),
        (50, 52, "52 shares in the last hour, as in the hour before"),
        (0, 9, "9 shares in the last hour, none in the hour before"),
        (100, 250, "250 shares in the last hour, 2.5 times the hour before"),
        (1000, 1, "1 share in the last hour, after 1,000 in the hour before"),
    ],
)
def test_hours_are_compared(old: int, new: int, said: str) -> None:
    assert change_in_words(windows(shares=(old, new)), "shares") == said


def test_trends() -> None:
    assert trend_of(windows(shares=(10, 100), likes=(500, 510))) == "rising"
    assert trend_of(windows(likes=(500, 100), shares=(10, 12))) == "slowing"
    assert trend_of(windows(likes=(100, 105))) == "steady"
    assert trend_of(windows()) == "steady"


def test_reasons_begin_with_what_is_due() -> None:
    row = windows(shares=(10, 100), likes=(20, 90)) | {
        "forecast_shares_next_1h": 87.3,
        "reproduction": 1.31,
        "shares": 120,
        "share_depth": 9,
    }
    assert reasons_of_rise(row) == [
        "87 more shares due in the next hour",
        "100 shares in the last hour, 10 times the hour before",
        "90 likes in the last hour, 4.5 times the hour before",
    ]
    assert reasons_of_rise(windows()) == []


def test_forecasts_in_words() -> None:
    known = {"forecast_shares": 120.4, "forecast_shares_low": 90.0, "forecast_shares_high": 180.0, "shares": 100}
    assert forecast_in_words(known) == (
        "120 shares expected in the end, 20 more than now; with 90 % certainty between 90 and 180."
    )
    faded = {"forecast_shares": None, "spread_reason": "faded"}
    assert forecast_in_words(faded) == "No forecast: it has faded: no share came in its latest window."
    assert "180 at most" in forecast_in_words(known | {"forecast_shares": 100.2})


def test_what_came_true_waits_for_its_time() -> None:
    def row(due: float, low: float, high: float) -> dict[str, Any]:
        return {
            "at": due / 2,
            "due": due,
            "forecast_shares_double_age": (low + high) / 2,
            "forecast_shares_double_age_low": low,
            "forecast_shares_double_age_high": high,
        }

    shares = {10: 50, 20: 80}
    judged = came_true([row(10, 40, 60), row(20, 90, 120), row(40, 1, 2)], shares.get)
    assert [(one["truth"], one["inside"]) for one in judged] == [(50, True), (80, False)]
