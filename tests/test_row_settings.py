"""Settings that stored rows follow from: what makes two of them differ, and who is refused, warned or let go on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import CheckFailed, EngagementError, SettingsError
from pipeline.settings import Settings
from processors import row_settings_store
from processors.commands import recount
from processors.row_settings import CODE_SETTING, RECOUNTED, row_settings
from processors.row_settings_store import (
    StoredRowSettings,
    WorkerAgreement,
    agree_for_recount,
    check_for_comparison,
)
from tests.end_to_end.checks import environment_of

BRANDS = "acme: {side: own, accounts: [a, b], hashtags: [x]}\nbeta: {side: rival}\n"
SAME_BRANDS = "# of this year\nbeta:\n  side: rival\nacme:\n  hashtags: ['x']\n  accounts: [b, a]\n  side: own\n"
LATENESS = "ENGAGEMENT_LATENESS_SECONDS"


def _fold(version: int) -> str:
    return f"fold version {version}, sha256 0123456789ab"


class Place(NamedTuple):
    """An empty database, and what is stored in it of settings."""

    settings: Settings
    client: ClickHouse
    stored: StoredRowSettings

    def worker(self, **other: str) -> WorkerAgreement:
        return WorkerAgreement(self.values(**other), self.stored)

    def values(self, **other: str) -> dict[str, str]:
        """Those of the settings, but for some: CODE_SETTING as `code`, LATENESS as `lateness`, brands as `brands`."""
        names = {"code": CODE_SETTING, "lateness": LATENESS, "brands": "ENGAGEMENT_BRANDS"}
        return row_settings(self.settings) | {names[name]: value for name, value in other.items()}

    def shown(self) -> dict[str, str]:
        names, values = self.client.select("SELECT setting, value FROM row_settings_v")
        return dict(zip(names, values, strict=True))


@pytest.fixture
def place(tables: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(row_settings_store, "NOTICE_SECONDS", 0.01)
    with ClickHouse(tables) as client:
        yield Place(tables, client, StoredRowSettings(client))


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        path.write_text(text)
        return path

    return write


def test_a_file_stands_for_what_it_says(file: Callable[[str], Path]) -> None:
    first, same, other, empty = (
        row_settings(Settings(brands=file(text)))["ENGAGEMENT_BRANDS"]
        for text in (BRANDS, SAME_BRANDS, BRANDS.replace("own", "rival"), "# none yet\n")
    )
    assert first == same != other
    assert first.startswith("2 brands, sha256 ")
    assert empty == "none" == row_settings(Settings())["ENGAGEMENT_BRANDS"]
    assert not any(word in first for word in ("acme", "beta"))


@pytest.mark.parametrize(
    "changed",
    [
        {"business_hours": "08:00-17:00"},
        {"business_days": "1-6"},
        {"business_zone": "Europe/Berlin"},
        {"future_limit_seconds": 5},
        {"lateness_seconds": 5},
        {"idle_seconds": 5},
        {"spike_keys": "hashtag"},
    ],
    ids=str,
)
def test_each_setting_counts(changed: dict[str, object]) -> None:
    usual, found = row_settings(Settings()), row_settings(Settings(**changed))  # type: ignore[arg-type]
    [name] = changed
    assert {setting for setting in usual if usual[setting] != found[setting]} == {f"ENGAGEMENT_{name.upper()}"}


def test_parameters_of_another_fit_count(file: Callable[[str], Path]) -> None:
    shipped = (Path(row_settings_store.__file__).parent / "virality/forecast.json").read_text()
    name = "ENGAGEMENT_FORECAST"
    assert row_settings(Settings())[name] == row_settings(Settings(forecast=file(shipped)))[name] == "shipped"
    other = shipped.replace('"habits": {', '"habits": {"ann": 0.5, ').replace("0.5, }", "0.5}")
    assert row_settings(Settings(forecast=file(other)))[name].startswith("of 20")


def test_what_only_costs_time_or_memory_does_not_count() -> None:
    other = Settings(memory_mb=64, flush_seconds=3, open_cells=5000, spike_series=2000, topic_prefix="x", instance="i")
    assert row_settings(other) == row_settings(Settings())


def test_workers_with_the_same_settings_agree(place: Place) -> None:
    for _ in range(2):
        worker = place.worker()
        worker.join()
        worker.check()
    assert place.shown() == place.values()
    assert place.client.select("SELECT count() FROM row_settings") == [[len(place.values())]], "stored once"


@pytest.mark.parametrize(("name", "value"), [("brands", "1 brand, sha256 0"), ("lateness", "5")])
def test_a_worker_with_another_value_is_refused(place: Place, name: str, value: str) -> None:
    place.worker().join()
    with pytest.raises(SettingsError) as refused:
        place.worker(**{name: value}).join()
    said = str(refused.value)
    setting = {"brands": "ENGAGEMENT_BRANDS", "lateness": LATENESS}[name]
    assert f"{setting} is {value} here, but {place.values()[setting]} since 2" in said
    assert "engagement recount --adopt" in said
    assert said.count(" here, but ") == 1
    assert place.shown() == place.values()


def test_a_worker_ends_once_others_are_adopted(place: Place) -> None:
    old = place.worker()
    old.join()
    old.check()
    assert agree_for_recount(place.values(brands="new"), place.stored, True, lambda said: None)
    old.check()  # looked a moment ago
    old.look_soon()
    with pytest.raises(SettingsError, match=r"ENGAGEMENT_BRANDS is none here, but new since .* recount on "):
        old.check()
    place.worker(brands="new").join()


def test_of_two_that_start_at_once_one_stays(place: Place) -> None:
    first, second = place.worker(brands="one"), place.worker(brands="two")
    nothing = place.stored.read()
    first.join()
    place.stored.write(place.values(brands="two"), "work", nothing)  # it had read before the first one wrote
    second.check()
    with pytest.raises(SettingsError, match="ENGAGEMENT_BRANDS is one here, but two"):
        first.check()


def test_a_newer_version_comes_in_worker_by_worker(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    old = place.worker(code=_fold(2))
    old.join()
    place.worker(code=_fold(3)).join()
    assert "fold version 2" in caplog.text
    assert "engagement recount" in caplog.text
    for _ in range(2):
        old.look_soon()
        old.check()
    assert caplog.text.count("a newer version has come") == 1
    with pytest.raises(SettingsError, match="install the newer version"):
        place.worker(code=_fold(2)).join()
    with pytest.raises(SettingsError, match="install the newer version"):
        agree_for_recount(place.values(code=_fold(2)), place.stored, True, lambda said: None)
    assert place.shown()[CODE_SETTING] == _fold(3)


def test_code_that_differs_without_another_fold_version_is_refused(place: Place) -> None:
    place.worker(code=_fold(2)).join()
    with pytest.raises(SettingsError, match="one that changes rows raises FOLD_VERSION"):
        place.worker(code="fold version 2, sha256 ba9876543210").join()


def test_a_newer_version_does_not_bring_other_settings(place: Place) -> None:
    place.worker(code=_fold(2)).join()
    with pytest.raises(SettingsError, match="ENGAGEMENT_BRANDS is x here"):
        place.worker(code=_fold(3), brands="x").join()
    assert place.shown()[CODE_SETTING] == _fold(2)


def test_a_comparison_needs_what_rows_of_the_past_follow_from(place: Place) -> None:
    check_for_comparison(place.values(brands="unknown yet"), place.stored)
    place.worker(code=_fold(2)).join()
    check_for_comparison(place.values(code=_fold(2), lateness="1"), place.stored)
    with pytest.raises(SettingsError, match="ENGAGEMENT_BRANDS is x here, but none"):
        check_for_comparison(place.values(code=_fold(2), brands="x"), place.stored)
    with pytest.raises(CheckFailed, match=r"fold version 3.*engagement recount` writes all rows anew"):
        check_for_comparison(place.values(code=_fold(3)), place.stored)


def test_a_recount_writes_no_rows_of_another_shape_unless_told_to(place: Place) -> None:
    told: list[str] = []
    assert agree_for_recount(place.values(), place.stored, False, told.append)
    assert place.shown().keys() == RECOUNTED, "what it does not need is left to the workers"
    place.worker().join()
    with pytest.raises(SettingsError, match="ENGAGEMENT_BRANDS is x here, but none"):
        agree_for_recount(place.values(brands="x", lateness="5"), place.stored, False, told.append)
    assert agree_for_recount(place.values(lateness="5"), place.stored, False, told.append)
    assert place.shown() == place.values()
    assert not told
    assert agree_for_recount(place.values(brands="x", lateness="5"), place.stored, True, told.append)
    assert place.shown() == place.values(brands="x", lateness="5")
    assert len(told) == 3
    assert told[2].startswith("waiting ")


def test_an_adoption_that_no_row_follows_from_writes_none(place: Place) -> None:
    place.worker().join()
    assert not agree_for_recount(place.values(lateness="5"), place.stored, True, lambda said: None)
    assert place.shown() == place.values(lateness="5")


@pytest.fixture
def command(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in environment_of(place.settings, {}).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, **variables: str) -> Result:
        return CliRunner().invoke(recount, arguments, env={f"ENGAGEMENT_{name}": v for name, v in variables.items()})

    return run


def test_the_command_names_the_setting(
    place: Place, command: Callable[..., Result], file: Callable[[str], Path]
) -> None:
    with_brands = {"BRANDS": str(file(BRANDS))}
    place.worker(brands=row_settings(Settings(brands=file(BRANDS)))["ENGAGEMENT_BRANDS"]).join()
    assert "the log is empty" in str(command("--check", **with_brands).exception), "the settings agree"
    for arguments in ([], ["--check"]):
        error = command(*arguments).exception
        assert isinstance(error, EngagementError)
        assert (error.exit_code, str(error).count("ENGAGEMENT_BRANDS is none here, but 2 brands")) == (2, 1)
    assert command("--check", "--adopt").exit_code == 2
    assert command("--adopt", "--json", LATENESS_SECONDS="5", **with_brands).stdout.startswith('{"posts": 0')
    assert command("--adopt", LATENESS_SECONDS="5").exit_code == 0
    assert place.shown() == place.values(lateness="5")
