"""What numbers of a post mean, in words. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from pipeline.page.query import PageRow
from schemas.alert_words import in_digits

HOUR_MINUTES: Final = 60
CHANGED: Final = 2.0
"""The z of two windows from which a change is more than chance (docs/metrics.md)."""

MEASURE_WORDS: Final = {"shares": ("share", "shares"), "comments": ("comment", "comments"), "likes": ("like", "likes")}


def counted(number: float, one: str, many: str) -> str:
    """Writes a number with its noun.

    >>> counted(1, "share", "shares"), counted(1234, "share", "shares"), counted(0.42, "share", "shares")
    ('1 share', '1,234 shares', '0.42 shares')
    """
    text = f"{number:,.0f}" if number >= 100 or number == int(number) else in_digits(round(number, 2))
    return f"{text} {one if text == '1' else many}"


def reasons_of_rise(row: PageRow) -> list[str]:
    """Says why a post rises, the weightiest reason first; what slows down is said too."""
    return list(_reasons(row))[:3]


def trend_of(row: PageRow) -> str:
    """Says whether a post rises, is steady, or slows down: by the measure that changed most, hour against hour."""
    z = max((row[f"{measure}_z_1h"] or 0 for measure in MEASURE_WORDS), key=abs)
    return "rising" if z >= CHANGED else "slowing" if z <= -CHANGED else "steady"


def _reasons(row: PageRow) -> Iterator[str]:
    due = row["forecast_shares_next_1h"]
    if due is not None and due >= 0.5:
        yield f"{counted(round(due), 'more share', 'more shares')} due in the next hour"
    changes = sorted(MEASURE_WORDS, key=lambda measure: -abs(row[f"{measure}_z_1h"] or 0))
    for measure in changes[:2]:
        if said := change_in_words(row, measure):
            yield said
    if row["reproduction"] is not None and row["reproduction"] >= 1:
        yield f"each share brings {in_digits(round(row['reproduction'], 1))} more"
    if row["shares"] >= 20 and row["share_depth"] and row["share_depth"] >= 5:
        yield f"passed on over {row['share_depth']} steps"


def change_in_words(row: PageRow, measure: str) -> str:
    """Compares the last hour with the hour before; empty where too little happened to tell."""
    new = row[f"{measure}_1h"]
    # acceleration = (N(t) - 2 N(t - w) + N(t - 2w)) / w^2, so the window before is:
    old = round(new - row[f"{measure}_acceleration_1h"] * HOUR_MINUTES**2)
    z = row[f"{measure}_z_1h"]
    said = counted(new, *MEASURE_WORDS[measure])
    if z is None or (abs(z) < CHANGED and new + old < 10):
        return ""
    if abs(z) < CHANGED:
        return f"{said} in the last hour, as in the hour before"
    if z < 0:
        return f"{said} in the last hour, after {old:,} in the hour before"
    if old <= 0:
        return f"{said} in the last hour, none in the hour before"
    return f"{said} in the last hour, {in_digits(round(new / old, 1))} times the hour before"


def forecast_in_words(row: PageRow) -> str:
    """Says how far a post will go, or why nobody can tell."""
    if row["forecast_shares"] is None:
        why = {
            "the post itself has not come": "the post itself has not arrived yet, so its age is not known",
            "no shares": "nobody has shared it yet",
            "faded": "it has faded: no share came in its latest window",
            "too few shares to tell": "there are too few shares to tell",
        }
        return f"No forecast: {why.get(row['spread_reason'] or '', row['spread_reason'] or 'it is not known yet')}."
    low, high = row["forecast_shares_low"], row["forecast_shares_high"]
    more = max(0, round(row["forecast_shares"]) - row["shares"])
    if more == 0:
        return f"No further shares are expected; {round(high):,} at most (95 % quantile)."
    return (
        f"{counted(round(row['forecast_shares']), 'share', 'shares')} expected in the end, {more:,} more than now; "
        f"with 90 % certainty between {round(low):,} and {round(high):,}."
    )


def came_true(forecasts: list[PageRow], shares_at: Any) -> list[dict[str, Any]]:
    """Judges forecasts of the shares at double the age. `shares_at` returns the net shares at a time, None while that
    time is to come."""
    judged = []
    for row in forecasts:
        truth = shares_at(row["due"])
        if truth is not None and row["forecast_shares_double_age"] is not None:
            low, high = row["forecast_shares_double_age_low"], row["forecast_shares_double_age_high"]
            judged.append(
                {
                    "at": row["at"],
                    "due": row["due"],
                    "said": row["forecast_shares_double_age"],
                    "low": low,
                    "high": high,
                    "truth": truth,
                    "inside": bool(low - 0.5 <= truth <= high + 0.5),
                }
            )
    return judged
