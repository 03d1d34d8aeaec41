"""The command `engagement spikes backtest`: its files, its labels, its output, and its errors on wrong input."""

import builtins
import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import engagement
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.errors import EngagementError
from pipeline.settings import Settings
from processors.spikes.backtest import THRESHOLDS, judge_series, spikes_of
from processors.spikes.detection.series import read_series
from processors.spikes.policy import DEFAULT_POLICY

START = 1_767_225_600  # 2026-01-01
FIVE = 300
SPIKE = 4 * 288  # the row where it begins, after four days


def _stamp(row: int, width: int = FIVE) -> str:
    return datetime.fromtimestamp(START + width * row, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _counts(spike: int = SPIKE) -> np.ndarray:
    counts = np.random.default_rng(1).poisson(20, 7 * 288)
    counts[spike : spike + 4] += (200, 300, 500, 100)
    return counts


def _write(path: Path, counts: np.ndarray) -> Path:
    lines = [f"{_stamp(row)},{count}" for row, count in enumerate(counts)]
    path.write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    return _write(tmp_path / "calm.csv", _counts()[:SPIKE])


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    return _write(tmp_path / "loud.csv", _counts())


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.json"
    window = [_stamp(SPIKE - 60), _stamp(SPIKE + 60)]
    path.write_text(json.dumps({"loud": {"windows": [window], "labels": [_stamp(SPIKE + 2)]}, "calm": {"windows": []}}))
    return path


def _backtest(*arguments: object) -> Result:
    return CliRunner().invoke(engagement, ["spikes", "backtest", *map(str, arguments)], catch_exceptions=True)


def _report(*arguments: object) -> dict[str, Any]:
    done = _backtest(*arguments, "--json")
    assert done.exit_code == 0, done.exception
    report: dict[str, Any] = json.loads(done.output)
    return report


def _refused(*arguments: object) -> str:
    done = _backtest(*arguments)
    assert isinstance(done.exception, EngagementError), done.output
    assert not done.stdout
    return str(done.exception)


def test_what_would_have_fired(loud: Path) -> None:
    report = _report(loud)
    [one] = report["series"]
    assert (one["name"], one["rows"], one["bucket_seconds"], one["weeks"]) == ("loud", 7 * 288, FIVE, 1.0)
    assert [alert["timestamp"] for alert in one["alerts"]] == [_stamp(SPIKE), _stamp(SPIKE + 2)]
    first, second = one["alerts"]
    assert first["lead_minutes"] == 10  # 500 came two rows later
    assert second["lead_minutes"] is None  # it is the same spike
    assert first["value"] == first["observed"] == _counts()[SPIKE]
    assert first["expected"] == pytest.approx(20, rel=0.2)
    assert first["score"] > 1
    assert "usual" in first["reasons"][0]
    assert [row["threshold"] for row in report["thresholds"]] == list(THRESHOLDS)
    [shipped] = [row for row in report["thresholds"] if row["threshold"] == DEFAULT_POLICY.threshold]
    assert (shipped["alerts"], shipped["spikes"], shipped["per_week"], shipped["lead_minutes"]) == (2, 1, 2.0, 10)
    assert "best" not in report


def test_it_is_printed_for_people_too(loud: Path, labels: Path) -> None:
    done = _backtest(loud, "--labels", labels)
    assert done.exit_code == 0
    assert "loud: 2,016 rows of 300 s, 1.0 weeks: 2 alerts, 2.00 a week, 1 spikes" in done.output
    assert f"{_stamp(SPIKE)}  score" in done.output
    assert "10 min before the peak" in done.output
    assert "1/1" in done.output
    assert "Numenta, one threshold for all: standard" in done.output


def test_labels_are_scored(loud: Path, calm: Path, labels: Path) -> None:
    report = _report(loud, calm, "--labels", labels)
    [shipped] = [row for row in report["thresholds"] if row["threshold"] == DEFAULT_POLICY.threshold]
    assert (shipped["found"], shipped["windows"], shipped["false"], shipped["false_per_week"]) == (1, 1, 0, 0)
    assert (shipped["first_minutes"], shipped["nearest_minutes"]) == (10, 0)
    # Row 60 of 121: v = tanh(2.5 x 61 / 121) / tanh(2.5)
    worth = np.tanh(2.5 * 61 / 121) / np.tanh(2.5)
    assert shipped["scores"]["standard"] == pytest.approx(100 * (worth + 1) / 2)
    assert shipped["scores"]["low-FN"] == pytest.approx(100 * (worth + 2) / 3)
    assert report["best"]["standard"]["score"] == pytest.approx(shipped["scores"]["standard"])
    assert set(report["leave_one_out"]) == {"standard", "low-FP", "low-FN"}


def test_a_row_per_input_row(loud: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert _backtest(loud, "--out", out).exit_code == 0
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["timestamp", "value", "score", "alert"]
    given = list(csv.DictReader(loud.open()))
    assert [(row["timestamp"], row["value"]) for row in rows] == [(row["timestamp"], row["value"]) for row in given]
    assert [number for number, row in enumerate(rows) if row["alert"] == "1"] == [SPIKE, SPIKE + 2]
    for row in rows:
        assert (float(row["score"]) >= DEFAULT_POLICY.threshold) == (row["alert"] == "1")


def test_several_files_name_their_series(loud: Path, calm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert _backtest(loud, calm, "--out", out).exit_code == 0
    rows = list(csv.reader(out.open()))
    assert rows[0] == ["timestamp", "value", "score", "alert", "series"]
    assert [row[4] for row in rows[1:]] == ["loud"] * 7 * 288 + ["calm"] * SPIKE


def test_another_threshold(loud: Path) -> None:
    report = _report(loud, "--threshold", 3.5)
    assert report["threshold"] == 3.5
    assert 3.5 in [row["threshold"] for row in report["thresholds"]]
    fired = [alert["score"] for alert in report["series"][0]["alerts"]]
    assert all(score >= 3.5 for score in fired)
    assert len(fired) < len(_report(loud)["series"][0]["alerts"])


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture(loud: Path, labels: Path, tmp_path: Path, suffix: str, magic: bytes) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / f"picture.{suffix}"
    assert _backtest(loud, "--labels", labels, "--picture", picture).exit_code == 0
    assert picture.read_bytes().startswith(magic)
    if suffix == "svg":
        assert picture.read_text().count("<clipPath") >= 1


def test_a_picture_without_matplotlib_names_the_cure(loud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'engagement-pipeline[plot]'" in _refused(loud, "--picture", "x.png")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,value\n2026-01-01,1\n", ":1: no column timestamp; the first line must name timestamp, value"),
        ("timestamp,count\n2026-01-01,1\n", ":1: no column value"),
        ("", ":1: no column timestamp"),
        ("timestamp,value\n2026-01-02,1\n", ": 1 rows; a series has at least two"),
        ("timestamp,value\n2026-01-01 00:00:00,1\n2026-01-01 00:00:07,1\n", ": rows are mostly 7 s apart"),
    ],
)
def test_a_wrong_file_is_told_with_line_and_field(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    assert _refused(path).startswith(f"{path}{said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timestamp,value\nyesterday,1\n", ":2: timestamp 'yesterday' is not a time"),
        ("timestamp,value\n2026-01-01,1\n2026-01-02\n", ":3: value '' is not a count"),
        ("timestamp,value\n2026-01-01,1\n2026-01-02,many\n", ":3: value 'many' is not a count; write a whole number"),
        ("timestamp,value\n2026-01-01,1.5\n", ":2: value '1.5' is not a count"),
        ("timestamp,value\n2026-01-01,1_000\n", ":2: value '1_000' is not a count"),
        ("timestamp,value\n2026-01-01,\u0663\n", ":2: value '\u0663' is not a count"),
        ("timestamp,value\n2026-01-01T00:00:60Z,1\n", ":2: timestamp '2026-01-01T00:00:60Z' is not a time"),
        ("timestamp,value\n2026-01-01,-1\n", ":2: value '-1' is not a count"),
        ("timestamp,value\n2026-01-01,nan\n", ":2: value 'nan' is not a count"),
        ("timestamp,value\n2026-01-01,1e99\n", ":2: value '1e99' is not a count"),
        ("timestamp,value\n2026-01-02,1\n2026-01-01,1\n", ":3: timestamp 2026-01-01 is not after the line before"),
        ("timestamp,value\n2026-01-02,1\n2026-01-02,1\n", ":3: timestamp 2026-01-02 is not after the line before"),
        ("timestamp,value\n1969-12-31T23:59:59,1\n", ":2: timestamp '1969-12-31T23:59:59' is not from 1970 to 2105"),
        ("timestamp,value\n2026-01-02,1,2\n", ":2: 3 values for 2 columns; quote"),
    ],
)
def test_a_bad_row_is_told_with_line_and_field_and_left_out(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    assert f"{path}: {text.count(chr(10)) - 2} rows left, 1 refused" in _refused(path)
    assert _backtest(path).stderr.startswith(f"{path}{said}")
    path.write_text(text + "2026-02-01 00:00:00,1\n2026-02-01 00:01:00,1\n")
    done = _backtest(path, "--json")
    assert done.exit_code == 0
    assert done.stderr.startswith(f"{path}{said}")
    report = json.loads(done.stdout)
    assert report["bad_lines"] == 1
    assert report["series"][0]["rows"] == text.count("\n") - 1 - 1 + 2, "head and bad row are none"
    assert f"{path}{said}" in _refused(path, "--strict")


def test_files_that_cannot_be_read_or_written(loud: Path, tmp_path: Path) -> None:
    assert "No such file" in _refused(tmp_path / "none.csv")
    assert "Is a directory" in _refused(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert "no column timestamp" in _refused(tmp_path / "binary.csv")
    assert "--out: " in _refused(loud, "--out", tmp_path / "none" / "out.csv")
    assert "--picture: picture.gif is neither PNG nor SVG" in _refused(loud, "--picture", "picture.gif")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "loud.windows: missing"),
        ('{"loud": {"windows": [["2026-01-05"]]}}', "loud.windows[0]: not a pair"),
        ('{"loud": {"windows": [["2026-01-05", "soon"]]}}', "loud.windows[0]: timestamp 'soon' is not a time"),
        ('{"loud": {"windows": [["2020-01-05", "2020-01-06"]]}}', "loud.windows[0]: holds no row"),
        ('{"loud": {"windows": [["2026-01-05", "2026-01-06"]], "labels": []}}', ""),
        ('{"loud": {"windows": [], "labels": ["2026-01-05"]}}', "loud.labels: not a list of one time a window"),
    ],
)
def test_wrong_labels_are_told_with_series_and_field(loud: Path, tmp_path: Path, told: str, said: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(told)
    if said:
        assert said in _refused(loud, "--labels", path)
    else:
        assert _backtest(loud, "--labels", path).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either CSV files or --conversation"),
        (("x.csv", "--conversation", "hashtag:x"), "give either CSV files or --conversation"),
        (("x.csv", "--since", "2026-01-01"), "--since and --until: only with --conversation"),
        (("x.csv", "--width", "7"), "width: buckets of 7 s"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], said: str) -> None:
    assert said in _refused(*arguments)


def test_times_with_zones_seconds_and_gaps(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text(
        f"value,timestamp\n1,2026-01-01T02:00:00+02:00\n2,{START + 60}\n3,2026-01-01T00:05:00Z\n4.0,{START + 360}.5\n"
    )
    one = read_series(path)
    assert (one.times - START).tolist() == [0, 60, 300, 360]
    assert one.counts.tolist() == [1, 2, 3, 4]
    assert one.width == 60
    assert read_series(path, 300).width == 300


def test_alerts_far_apart_are_spikes_of_their_own(tmp_path: Path) -> None:
    counts = _counts()
    counts[SPIKE + 288] = 5000
    one = read_series(_write(tmp_path / "two.csv", counts))
    first, second = spikes_of(one, judge_series(one, DEFAULT_POLICY).fires)
    assert (first.opened, first.alerts, first.peak) == (SPIKE, 2, SPIKE + 2)
    assert (second.opened, second.alerts, second.peak) == (SPIKE + 288, 1, SPIKE + 288)


def test_the_past_of_a_conversation(
    settings: Settings, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(settings)
    counts = np.random.default_rng(2).poisson(2, 3 * 1440)
    counts[4000] = 300
    minutes = np.flatnonzero(counts)
    with ClickHouse(settings) as clickhouse:
        for conversation, factor in (("hashtag:launch", 1), ("hashtag:other", 7)):
            clickhouse.insert(
                "conversation_closed",
                {
                    "conversation": [conversation] * len(minutes),
                    "minute": (START + 60 * minutes).tolist(),
                    "count": (factor * counts[minutes]).tolist(),
                    "closed_at": [(START + 60 * 5000) * 1000] * len(minutes),
                },
            )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    [one] = _report("--conversation", "hashtag:launch")["series"]
    assert (one["name"], one["rows"], one["bucket_seconds"]) == ("hashtag:launch", len(minutes), 60)
    assert [(alert["timestamp"], alert["value"]) for alert in one["alerts"]] == [(_stamp(4000, 60), 300)]
    [part] = _report("--conversation", "hashtag:launch", "--since", "2026-01-02", "--until", "2026-01-03T00:00:00")[
        "series"
    ]
    assert part["rows"] == ((minutes >= 1440) & (minutes < 2880)).sum()
    assert "hashtag:none: 0 closed minutes" in _refused("--conversation", "hashtag:none")
