"""The summary of a progressive backtest, as text or JSON."""

import json
from collections.abc import Sequence
from typing import Any

import click

from processors.virality.fit.progressive import ProgressiveQuality


def print_progressive(
    ages: Sequence[str], judged: Sequence[ProgressiveQuality], least_shares: int, bad_lines: int, *, as_json: bool
) -> None:
    """Prints a line per age and step of finished posts, and one per age for all posts after the first 300."""
    if as_json:
        document = {age: [_line_of(*step) for step in one.steps()] for age, one in zip(ages, judged, strict=True)}
        head = {"fit": "progressive", "least_shares": least_shares, "bad_lines": bad_lines}
        click.echo(json.dumps(head | {"ages": document}))
        return
    click.echo(
        f"{'age':>6} {'finished':>12} {'posts':>7} {'median APE':>11} {'bias':>7} {'coverage':>9} {'pinball':>8} "
        f"{'now':>7} {'SEISMIC':>8}"
    )
    for age, one in zip(ages, judged, strict=True):
        for start, end, part in [*one.steps(), (300, None, one.some(one.finished >= 300))]:
            if not len(part.finished):
                continue
            said = f"{start:,} to {end - 1:,}" if end else f"{start:,} on"
            quality = part.quality
            click.echo(
                f"{age:>6} {said:>12} {len(part.finished):>7,} {quality.median_ape:>11.1%} "
                f"{quality.median_bias:>+7.1%} {quality.coverage:>9.1%} {quality.pinball:>8.1f} "
                f"{part.error_of('now'):>7.1%} {part.error_of('seismic'):>8.1%}"
            )


def _line_of(start: int, end: int | None, part: ProgressiveQuality) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if value != value or value == float("inf") else value

    quality = part.quality
    return {
        "finished_from": start,
        "finished_to": end,
        "posts": len(part.finished),
        "median_ape": number(quality.median_ape),
        "median_bias": number(quality.median_bias),
        "coverage": number(quality.coverage),
        "pinball": number(quality.pinball),
        "median_ape_now": number(part.error_of("now")),
        "median_ape_seismic": number(part.error_of("seismic")),
    }
