"""Commands about spikes: backtest."""

import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import SettingsError
from pipeline.settings import load_settings
from processors.spikes import numenta
from processors.spikes.backtest import THRESHOLDS, Judged, Tried, compare, rate_all, run, spikes_of, summarize, weeks_of
from processors.spikes.bank import Verdicts
from processors.spikes.detector import verdicts_of
from processors.spikes.history import read_past
from processors.spikes.plot import check_picture, draw
from processors.spikes.policy import SHIPPED, cut
from processors.spikes.series import Labels, Series, read_labels, read_series

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S"])
_PATH = click.Path(path_type=Path)


@click.group(epilog="Example: engagement spikes backtest mentions.csv --picture mentions.svg")
def spikes() -> None:
    """Sudden spikes in conversation: the detector on history."""


@spikes.command(
    epilog="Example: engagement spikes backtest data/*.csv --labels labels.json --picture spikes.png --out spikes.csv"
)
@click.argument("files", nargs=-1, type=_PATH)
@click.option(
    "--conversation", help="Instead of files: the past of this conversation, `hashtag:launch`, in ClickHouse."
)
@click.option("--since", type=_TIME, help="... from this time on (UTC where no zone is said) ...")
@click.option("--until", type=_TIME, help="... and before this one.")
@click.option("--labels", type=_PATH, help="JSON of windows by series; scores the detector as Numenta does.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    default=SHIPPED.threshold,
    show_default=True,
    help="Score from which an alert fires; the live detector has the default.",
)
@click.option("--width", type=int, help="Seconds of a bucket; by default what most rows are apart.")
@click.option("--out", type=_PATH, help="CSV with a row per input row: timestamp, value, score, alert (0 or 1).")
@click.option("--picture", type=_PATH, help="PNG or SVG of each series with its alerts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backtest(
    files: Sequence[Path],
    conversation: str | None,
    since: datetime | None,
    until: datetime | None,
    labels: Path | None,
    threshold: float,
    width: int | None,
    out: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """What the live detector would have said of the past: of CSV FILES (timestamp,value) or of ClickHouse's own.

    Prints the alerts, and what several thresholds would have made of all series. An alert's lead is the time from a
    spike's first alert to its highest count.
    """
    if bool(files) == bool(conversation):
        raise SettingsError("give either CSV files or --conversation KEY, one of the two")
    if not conversation and (since or until):
        raise SettingsError("--since and --until: only with --conversation; cut the CSV files instead")
    if width is not None:
        cut(width)
    if picture:
        check_picture(picture)
    if conversation:
        with ClickHouse(load_settings()) as clickhouse:
            series = [read_past(clickhouse, conversation, _seconds(since), _seconds(until))]
    else:
        series = [read_series(path, width) for path in files]
    told = read_labels(labels, series) if labels else None

    policy = SHIPPED._replace(threshold=threshold)
    verdicts = [run(one, policy) for one in series]
    tried: list[tuple[Tried, Judged | None]] = []
    for each in sorted({*THRESHOLDS, threshold}):
        said = verdicts if each == threshold else [run(one, policy._replace(threshold=each)) for one in series]
        tried.append((summarize(each, series, said), compare(series, said, told) if told else None))
    if out:
        _write(out, series, verdicts)
    if picture:
        draw(picture, series, verdicts, told)
    report = _report(series, verdicts, tried, told, threshold)
    click.echo(json.dumps(report) if as_json else "\n".join(_lines(report)))


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _write(path: Path, series: Sequence[Series], verdicts: Sequence[Verdicts]) -> None:
    several = len(series) > 1
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(["timestamp", "value", "score", "alert", *(["series"] if several else [])])
            for one, said in zip(series, verdicts, strict=True):
                scores = [f"{score:.6f}" for score in said.scores.tolist()]
                columns = (one.stamps, one.counts.tolist(), scores, said.fires.astype(int).tolist())
                rows.writerows((*row, one.name) if several else row for row in zip(*columns, strict=True))
    except OSError as error:
        raise SettingsError(f"--out: {path}: {error.strerror}; name a file that can be written") from None


def _report(
    series: Sequence[Series],
    verdicts: Sequence[Verdicts],
    tried: Sequence[tuple[Tried, Judged | None]],
    told: Sequence[Labels] | None,
    threshold: float,
) -> dict[str, Any]:
    """All that is printed, as one JSON object."""
    report: dict[str, Any] = {"threshold": threshold, "series": [], "thresholds": []}
    for one, said in zip(series, verdicts, strict=True):
        fired = said.fires.nonzero()[0].tolist()
        leads = {
            spike.opened: float(one.times[spike.peak] - one.times[spike.opened]) / 60
            for spike in spikes_of(one, said.fires)
        }
        readable = verdicts_of(type(said)(*(column[fired] for column in said)))
        report["series"].append(
            {
                "name": one.name,
                "rows": len(one.times),
                "bucket_seconds": one.width,
                "weeks": weeks_of(one),
                "alerts_per_week": len(fired) / weeks_of(one),
                "spikes": len(leads),
                "alerts": [
                    {
                        "timestamp": one.stamps[row],
                        "value": int(one.counts[row]),
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
    for summary, judged in tried:
        report["thresholds"].append(summary._asdict() | (judged._asdict() if judged else {}))
    if told:
        rated = rate_all(verdicts, told)
        report["best"] = {name: numenta.best(rated, profile)._asdict() for name, profile in numenta.PROFILES.items()}
        if len(rated) > 1:
            report["leave_one_out"] = {
                name: numenta.leave_one_out(rated, profile) for name, profile in numenta.PROFILES.items()
            }
    return report


def _lines(report: dict[str, Any]) -> list[str]:
    lines = []
    for one in report["series"]:
        lines.append(
            f"{one['name']}: {one['rows']:,} rows of {one['bucket_seconds']} s, {one['weeks']:.1f} weeks: "
            f"{len(one['alerts'])} alerts, {one['alerts_per_week']:.2f} a week, {one['spikes']} spikes"
        )
        for alert in one["alerts"]:
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
        best = report["best"]
        lines += [
            "",
            "Numenta, one threshold for all: "
            + ", ".join(f"{name} {one['score']:.1f} at {one['threshold']:.3f}" for name, one in best.items()),
        ]
        lines.append("leave-one-out: " + ", ".join(f"{n} {s:.1f}" for n, s in report["leave_one_out"].items()))
    return lines


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
