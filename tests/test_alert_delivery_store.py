"""What the agent relies on of the record of deliveries, of the fake and of the real ClickHouse alike."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from processors.alerts.delivery_store import ClickHouseDeliveryStore
from processors.alerts.ports import Delivery, DeliveryStore, GroupRow
from schemas.alerts import GROUP_FIELDS, SpikeAlert
from schemas.tables import ALERT_DELIVERIES, CONVERSATION_MINUTES, CONVERSATION_SPIKES
from tests.fakes_alerts import T0, FakeDeliveryStore, spike

MINUTE = int(T0) // 60
TRIED = Delivery("5f", "hook", "opened", MINUTE, 2, "it's said: \\ 'no'")
TOLD = Delivery("5f", "hook", "opened", MINUTE, 3, "delivered", int(T0 * 1000) + 123)


class Bench(NamedTuple):
    deliveries: DeliveryStore
    put: Callable[[SpikeAlert], None]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        fake = FakeDeliveryStore()
        yield Bench(fake, fake.put)
        return
    settings: Settings = request.getfixturevalue("settings")
    migrate(settings)
    with ClickHouse(settings) as client, ClickHouse(settings) as writer:

        def put(alert: SpikeAlert) -> None:
            row: dict[str, Any] = {**alert, "version": int(alert["as_of"].timestamp())}
            row = {name: value for name, value in row.items() if name not in GROUP_FIELDS}
            for name in ("started_at", "ended_at", "as_of", "counted_until"):
                row[name] = None if row[name] is None else int(row[name].timestamp())
            assert set(row) == {column.name for column in CONVERSATION_SPIKES.columns} - {"stored_at"}
            writer.insert(CONVERSATION_SPIKES.name, {name: [value] for name, value in row.items()})

        yield Bench(ClickHouseDeliveryStore(client), put)


def test_spikes_come_as_they_were_put(bench: Bench) -> None:
    for alert in (spike(), spike("b", "resolved", 7, "brand:é'x"), spike("c"), spike("c", "grown", 3)):
        bench.put(alert)
    found = {alert["spike_id"]: alert for alert in bench.deliveries.spikes(T0)}
    assert found == {"5f": spike(), "b": spike("b", "resolved", 7, "brand:é'x"), "c": spike("c", "grown", 3)}


def test_spikes_that_ended_long_ago_stay_away_open_ones_do_not(bench: Bench) -> None:
    for alert in (spike("open"), spike("over", "resolved", 7)):
        bench.put(alert)
    for since, expected in ((T0 + 420, {"open", "over"}), (T0 + 421, {"open"}), (T0 + 10**6, {"open"})):
        assert {alert["spike_id"] for alert in bench.deliveries.spikes(since)} == expected


def test_the_group_with_most_spikes_wins(bench: Bench) -> None:
    two = [GroupRow("b", "b", 2), GroupRow("c", "b", 2)]
    three = [GroupRow(spike_id, "a'é", 3) for spike_id in "abc"]
    for rows in (two, three, two):
        bench.deliveries.save_groups(rows)
    assert dict(bench.deliveries.groups(["a", "b", "c", "d"])) == dict.fromkeys("abc", "a'é")
    assert dict(bench.deliveries.groups([])) == {}


def test_rows_are_read_as_they_were_saved(bench: Bench) -> None:
    grown = Delivery("5f", "hook", "grown", MINUTE + 7, 1, "silenced: “known”")
    other = Delivery("6a", "hook", "opened", MINUTE, 0, "old")
    bench.deliveries.save([TRIED, grown, other])
    assert set(bench.deliveries.load(["5f"])) == {TRIED, grown}
    assert set(bench.deliveries.load(["5f", "6a", "never"])) == {TRIED, grown, other}
    assert list(bench.deliveries.load([])) == list(bench.deliveries.load(["never"])) == []
    bench.deliveries.save([])


@pytest.mark.parametrize("rows", [[TRIED, TOLD], [TOLD, TRIED]])
def test_who_knows_more_wins_whoever_comes_last(bench: Bench, rows: list[Delivery]) -> None:
    for row in rows:
        bench.deliveries.save([row])
    bench.deliveries.save([Delivery("5f", "hook", "opened", MINUTE, 0, "old")])
    assert list(bench.deliveries.load(["5f"])) == [TOLD]


def test_the_reference_of_a_message_is_kept(bench: Bench) -> None:
    row = Delivery("5f", "room", "opened", MINUTE, 1, "delivered", int(T0 * 1000), "C1:1700000000.000100")
    bench.deliveries.save([row])
    assert list(bench.deliveries.load(["5f"])) == [row]


@pytest.mark.stack
def test_the_minutes_of_a_picture_are_the_latest_counts_of_the_conversation(settings: Settings) -> None:
    migrate(settings)
    first = int(T0) // 60
    with ClickHouse(settings) as client:
        for name, minute, posts, comments, version in (
            ("hashtag:it's", first, 2, 5, 1),
            ("hashtag:it's", first, 2, 9, 2),
            ("hashtag:it's", first + 3, 0, -4, 1),
            ("hashtag:it's", first + 9, 1, 1, 1),
            ("hashtag:other", first, 7, 7, 1),
        ):
            client.insert(
                CONVERSATION_MINUTES.name,
                {"conversation": [name], "minute": [minute * 60], "posts": [posts], "comments": [comments]}
                | {"version": [version]},
            )
        store = ClickHouseDeliveryStore(client)
        assert store.minutes("hashtag:it's", first, first + 8) == {first: 11, first + 3: 0}
        assert store.minutes("hashtag:never", first, first + 8) == {}


@pytest.mark.stack
def test_people_see_deliveries_in_the_view(settings: Settings) -> None:
    migrate(settings)
    with ClickHouse(settings) as client:
        ClickHouseDeliveryStore(client).save([TRIED, TOLD])
        columns = client.select(f"SELECT state, attempts, outcome FROM {ALERT_DELIVERIES.name}_v")
    assert [list(column) for column in columns] == [["opened"], [3], ["delivered"]]
