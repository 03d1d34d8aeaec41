"""The command `spikes`."""

import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipeline.clickhouse.client import ClickHouse
from pipeline.command_group import CommandGroup, FiniteRange
from pipeline.errors import SettingsError
from pipeline.files.bad_lines import BadLines
from pipeline.files.opening import check_inputs
from pipeline.files.options import ENCODING_OPTION, STRICT_OPTION, reading, tell
from pipeline.settings import load_settings
from processors.spikes.backtest import (
    THRESHOLDS,
    LabelScores,
    ThresholdSummary,
    compare_with_labels,
    judge_series,
    rate_all,
    spikes_of,
    summarize,
    weeks_of,
)
from processors.spikes.detection import numenta
from processors.spikes.detection.bank import Verdicts
from processors.spikes.detection.detector import verdicts_of
from processors.spikes.detection.series import Labels, Series, read_labels, read_series
from processors.spikes.history import read_closed_minutes
from processors.spikes.plot import check_plot_path, draw_plot
from processors.spikes.policy import DEFAULT_POLICY, grid_of

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S"])
_PATH = click.Path(path_type=Path)

_Summary = tuple[ThresholdSummary, LabelScores | None]
"""A threshold's alerts, and, with labels, how good the alerts are."""


@click.group(cls=CommandGroup, epilog="Example: engagement spikes backtest mentions.csv --picture mentions.svg")
def spikes() -> None:
    """Sudden spikes of conversations: run the detector on history."""


@spikes.command(
    "backtest",
    epilog="Example: engagement spikes backtest data/*.csv --labels labels.json --picture spikes.png --out spikes.csv",
)
@click.argument("files", nargs=-1, type=_PATH)
@click.option(
    "--conversation",
    help="Instead of files: the closed minutes of this conversation in ClickHouse, such as `hashtag:launch`.",
)
@click.option("--since", type=_TIME, help="Begin --conversation at this time (UTC where no zone is given).")
@click.option("--until", type=_TIME, help="End --conversation before this time.")
@click.option(
    "--labels", type=_PATH, help="JSON file of labelled windows by series: score the detector as Numenta does."
)
@click.option(
    "--threshold",
    type=FiniteRange(0, min_open=True),
    default=DEFAULT_POLICY.threshold,
    show_default=True,
    help="Fire from this score on. The live detector has the default.",
)
@click.option("--width", type=int, help="Seconds of a bucket; by default the most frequent distance of rows.")
@click.option(
    "--out", type=_PATH, help="Write a CSV file with a row per input row: timestamp, value, score, alert (0 or 1)."
)
@click.option("--picture", type=_PATH, help="Write a PNG or SVG plot of each series with its alerts.")
@STRICT_OPTION
@ENCODING_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backtest_spikes(
    files: Sequence[Path],
    conversation: str | None,
    since: datetime | None,
    until: datetime | None,
    labels: Path | None,
    threshold: float,
    width: int | None,
    out: Path | None,
    picture: Path | None,
    strict: bool,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Run the live detector on history: on CSV FILES (timestamp,value), or on closed minutes in ClickHouse.

    Prints the alerts, and a summary of several thresholds over all series. The lead of an alert is the time from a
    spike's first alert to its highest count. Rows that are no counts are named, left out and counted. Exits with 1
    where a file has no two rows left, or with --strict at the first bad row.
    """
    if bool(files) == bool(conversation):
        raise SettingsError("give either CSV files or --conversation KEY, one of the two")
    if not conversation and (since or until):
        raise SettingsError("--since and --until: only with --conversation; cut the CSV files instead")
    if width is not None:
        grid_of(width)
    if picture:
        check_plot_path(picture)
    bad_lines = BadLines(tell, strict)
    if conversation:
        with ClickHouse(load_settings()) as clickhouse:
            series = [read_closed_minutes(clickhouse, conversation, _seconds(since), _seconds(until))]
    else:
        check_inputs(files)
        series = [read_series(path, width, bad_lines, reading(encoding)) for path in files]
        bad_lines.end("counts")
    series_labels = read_labels(labels, series) if labels else None

    policy = DEFAULT_POLICY._replace(threshold=threshold)
    verdicts = [judge_series(counts, policy) for counts in series]
    summaries: list[_Summary] = []
    for tried_threshold in sorted({*THRESHOLDS, threshold}):
        tried = verdicts
        if tried_threshold != threshold:
            tried = [judge_series(counts, policy._replace(threshold=tried_threshold)) for counts in series]
        scores = compare_with_labels(series, tried, series_labels) if series_labels else None
        summaries.append((summarize(tried_threshold, series, tried), scores))
    if out:
        _write(out, series, verdicts)
    if picture:
        draw_plot(picture, series, verdicts, series_labels)
    report = _report(series, verdicts, summaries, series_labels, threshold) | {"bad_lines": bad_lines.count}
    click.echo(json.dumps(report) if as_json else "\n".join(_lines(report)))


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _write(path: Path, series: Sequence[Series], verdicts: Sequence[Verdicts]) -> None:
    several = len(series) > 1
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(["timestamp", "value", "score", "alert", *(["series"] if several else [])])
            for counts, verdict in zip(series, verdicts, strict=True):
                scores = [f"{score:.6f}" for score in verdict.scores.tolist()]
                columns = (counts.stamps, counts.counts.tolist(), scores, verdict.fires.astype(int).tolist())
                rows.writerows((*row, counts.name) if several else row for row in zip(*columns, strict=True))
    except OSError as error:
        raise SettingsError(f"--out: {path}: {error.strerror}; name a file that can be written") from None


def _report(
    series: Sequence[Series],
    verdicts: Sequence[Verdicts],
    summaries: Sequence[_Summary],
    labels: Sequence[Labels] | None,
    threshold: float,
) -> dict[str, Any]:
    """Returns the whole output as one JSON object."""
    report: dict[str, Any] = {"threshold": threshold, "series": [], "thresholds": []}
    for counts, verdict_columns in zip(series, verdicts, strict=True):
        fired = verdict_columns.fires.nonzero()[0].tolist()
        leads = {
            spike.opened: float(counts.times[spike.peak] - counts.times[spike.opened]) / 60
            for spike in spikes_of(counts, verdict_columns.fires)
        }
        readable = verdicts_of(Verdicts(*(column[fired] for column in verdict_columns)))
        report["series"].append(
            {
                "name": counts.name,
                "rows": len(counts.times),
                "bucket_seconds": counts.width,
                "weeks": weeks_of(counts),
                "alerts_per_week": len(fired) / weeks_of(counts),
                "spikes": len(leads),
                "alerts": [
                    {
                        "timestamp": counts.stamps[row],
                        "value": int(counts.counts[row]),
                        "score": verdict.score,
                        "observed": verdict.observed,
                        "expected": verdict.expected,
                        "scale_seconds": verdict.scale_seconds,
                        "lead_minutes": leads.get(row),
                        "reasons": list(verdict.reasons),
                    }
                    for row, verdict in zip(fired, readable, strict=True)
                ],
            }
        )
    for summary, scores in summaries:
        report["thresholds"].append(summary._asdict() | (scores._asdict() if scores else {}))
    if labels:
        rated = rate_all(verdicts, labels)
        report["best"] = {
            name: numenta.best_threshold(rated, profile)._asdict() for name, profile in numenta.PROFILES.items()
        }
        if len(rated) > 1:
            report["leave_one_out"] = {
                name: numenta.leave_one_out(rated, profile) for name, profile in numenta.PROFILES.items()
            }
    return report


def _lines(report: dict[str, Any]) -> list[str]:
    lines = []
    for series in report["series"]:
        lines.append(
            f"{series['name']}: {series['rows']:,} rows of {series['bucket_seconds']} s, {series['weeks']:.1f} weeks: "
            f"{len(series['alerts'])} alerts, {series['alerts_per_week']:.2f} a week, {series['spikes']} spikes"
        )
        for alert in series["alerts"]:
            lead = "" if alert["lead_minutes"] is None else f", {alert['lead_minutes']:.0f} min before the peak"
            lines.append(f"  {alert['timestamp']}  score {alert['score']:.2f}  {'; '.join(alert['reasons'])}{lead}")
    labelled = "scores" in report["thresholds"][0]
    head = f"{'threshold':>9} {'alerts':>7} {'a week':>7} {'spikes':>7} {'lead min':>9}"
    if labelled:
        head += f" {'found':>7} {'false a week':>13} {'first min':>10} {'nearest':>8} " + " ".join(
            f"{name:>9}" for name in numenta.PROFILES
        )
    lines += ["", head]
    for row in report["thresholds"]:
        line = (
            f"{row['threshold']:>9g} {row['alerts']:>7} {row['per_week']:>7.2f} {row['spikes']:>7} "
            f"{_or_dash(row['lead_minutes']):>9}"
        )
        if labelled:
            found = f"{row['found']}/{row['windows']}"
            line += (
                f" {found:>7} {row['false_per_week']:>13.2f} {_or_dash(row['first_minutes']):>10} "
                f"{_or_dash(row['nearest_minutes']):>8} "
            ) + " ".join(f"{score:>9.1f}" for score in row["scores"].values())
        lines.append(line + ("  <" if row["threshold"] == report["threshold"] else ""))
    with suppress(KeyError):
        best = (f"{name} {best['score']:.1f} at {best['threshold']:.3f}" for name, best in report["best"].items())
        lines += ["", "Numenta, one threshold for all: " + ", ".join(best)]
        lines.append("leave-one-out: " + ", ".join(f"{n} {s:.1f}" for n, s in report["leave_one_out"].items()))
    return lines


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
