"""`engagement forecast fit` on the real ClickHouse."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from processors.virality.commands import forecast_group
from processors.virality.parameters import load_parameters
from tests.hawkes import cascades_with

MADE = 1_767_225_600
"""2026-01-01, Unix time."""


def test_fit_learns_from_what_is_stored(
    settings: Settings, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    data = cascades_with(rng, 0.8, 150, given=40, until=0, waits=lambda n: rng.exponential(60, n))
    key, count = np.unique(data.post * 10**6 + data.lag, return_counts=True)
    names = [*data.post_ids, "young"]
    migrate(settings)
    with ClickHouse(settings) as clickhouse:
        clickhouse.execute(
            "INSERT INTO posts (post_id, created_at, version) VALUES ('young', '2026-01-20 00:00:00', 1)"
        )
        clickhouse.execute(
            "INSERT INTO posts (post_id, author_id, created_at, version) "
            f"SELECT toString(number), concat('a', toString(number % 10)), toDateTime64({MADE}, 6, 'UTC'), 1 "
            "FROM numbers(150)"
        )
        values = ",".join(f"('{name}',1000,1)" for name in names)
        clickhouse.execute(f"INSERT INTO post_metrics (post_id, shares, version) VALUES {values}")
        panes = [
            f"('{k // 10**6}',{MADE + int(k % 10**6) * 60},{c},1)" for k, c in zip(key.tolist(), count, strict=True)
        ]
        panes.append(f"('young',{MADE + 20 * 86400},70,1)")
        clickhouse.execute(f"INSERT INTO post_minutes (post_id, minute, shares, version) VALUES {','.join(panes)}")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "learned.json"
    result = CliRunner().invoke(forecast_group, ["fit", "--out", str(out)])
    assert result.exit_code == 0, result.output + str(result.exception)
    learned = load_parameters(out)
    assert learned.sample["posts"] == 150
    assert {10.0, 60.0, 360.0} <= set(learned.ages)
    assert set(learned.habits) <= {f"a{number}" for number in range(10)}
    assert learned.habits
    few = CliRunner().invoke(forecast_group, ["fit", "--since", "2026-01-10"])
    assert few.exit_code != 0
    assert "0 finished posts: at no age 100" in str(few.exception)
