"""The agent with everything around it made up or on loopback: kills, outages, rebalances, receivers that misbehave."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from pipeline.dead_letters import DeadLetter
from pipeline.kafka.topics import partition_of
from pipeline.observability.alert_metrics import ALERT_REASONS, AlertMetrics
from pipeline.observability.metrics import WorkerMetrics
from processors.alerts.agent import AlertAgent
from processors.alerts.config import AlertsConfig
from processors.alerts.connections import open_heartbeat, open_receivers
from processors.alerts.deliveries.policy import DeliveryPolicy
from processors.alerts.ports import SETTLED, AlertPorts, Answer, Delivery, Receiver
from processors.alerts.records import read_alerts
from processors.runtime.batch import Batch
from processors.runtime.records import Run
from schemas.alerts import ALERTS_KEY, SPIKE_ALERT, SpikeAlert
from tests.fakes_alerts import T0, FakeDeliveryStore, FakeReceiver, HttpServer, config_of, spike, until
from tests.patience import SOON

QUICK = DeliveryPolicy(first_wait=0.05, longest_wait=0.2, gather=0)
TOPIC = "engagement.alerts"


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes | None
    key: bytes | None = b"k"
    timestamp: int = int(T0 * 1000)


class Thread:
    """Any thread will do: nothing here minds which one."""

    async def run(self, action: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        return await asyncio.to_thread(action, *arguments)


class Bench:
    """Agents one after the other over the same stored tables and the same receivers."""

    def __init__(self, config: AlertsConfig | None = None, receivers: dict[str, Receiver] | None = None) -> None:
        self.config = config or config_of()
        self.receivers = receivers
        self.deliveries = FakeDeliveryStore()
        self.buried: list[DeadLetter] = []
        self.now, self.policy = T0, QUICK
        self.metrics = WorkerMetrics()
        self.alert_metrics = AlertMetrics(self.metrics)
        self.ticking: asyncio.Task[None] | None = None

    async def start(self, partitions: tuple[int, ...] = (0, 1, 2, 3), tick: bool = True) -> AlertAgent:
        receivers = open_receivers(self.config) if self.receivers is None else self.receivers
        self.agent = AlertAgent(
            self.config,
            AlertPorts(
                self.deliveries,
                receivers,
                self.buried.extend,
                self.alert_metrics,
                Thread(),
                open_heartbeat(self.config),
            ),
            self.policy,
            clock=lambda: self.now,
        )
        await self.agent.assign(list(partitions), 4)
        if tick:
            self.ticking = asyncio.create_task(self._tick(self.agent))
        return self.agent

    async def _tick(self, agent: AlertAgent) -> None:
        while True:
            await agent.tick()
            await asyncio.sleep(0.02)
            self.now += 0.02

    async def send(self, *alerts: SpikeAlert) -> bool:
        """What the conversation agent does: the rows first, then the messages."""
        for alert in alerts:
            self.deliveries.put(alert)
        return await self.agent.process(batch_of(*alerts))

    async def kill(self) -> None:
        """Nothing of it happens any more, nothing is stored."""
        if self.ticking is not None:
            self.ticking.cancel()
        for task in [*self.agent._attempts]:
            task.cancel()
        self.agent._queue = None
        await asyncio.sleep(0)
        for receiver in self.agent._ports.receivers.values():  # the system would close its sockets
            await receiver.close()

    async def stop(self) -> None:
        if self.ticking is not None:
            self.ticking.cancel()
        await self.agent.close()

    def outcomes(self, spike_id: str = "5f") -> dict[str, str]:
        return {
            f"{row.receiver} {row.state}": row.outcome
            for row in self.deliveries.rows.values()
            if row.spike_id == spike_id
        }

    def count(self, name: str) -> float:
        return self.metrics.snapshot()[f"engagement_{name}"]


def batch_of(*alerts: SpikeAlert) -> Batch:
    records = [Record(number, SPIKE_ALERT.dump_json(alert)) for number, alert in enumerate(alerts)]
    return Batch([Run(TOPIC, "alert", 0, records)], {(TOPIC, 0): len(records)})


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 3 * SOON))


# ---------------------------------------------------------------- the promise, over HTTP


def test_a_receiver_that_fails_hangs_dies_and_comes_back_counts_each_state_once(server: HttpServer) -> None:
    """So does the agent: it is killed twice, once before the receiver took anything, once before it could store that it
    did."""
    bench = Bench(config_of({"hook": {"url": server.url, "timeout": "1s"}}))

    async def work() -> None:
        await bench.start()
        server.status = 500
        await bench.send(spike())
        await until(lambda: len(server.requests) >= 2)
        await bench.kill()
        server.kill()
        await bench.start()
        await bench.send(spike(), spike(state="grown", minute=1))  # Kafka repeats what was not committed
        await until(lambda: bench.count('alerts_failed_total{receiver="hook"}') >= 5)
        server.requests.clear()
        server.status, server.seconds = 200, 3.0
        server.start()
        await asyncio.sleep(0.3)  # it hangs
        server.kill()
        server.seconds = 0.0
        server.start()
        bench.deliveries.away = True
        await until(server.keys)
        await bench.kill()
        bench.deliveries.away = False
        await bench.start()
        await until(lambda: bench.outcomes().get("hook grown") == "delivered")
        await bench.send(spike(state="resolved", minute=2))
        await until(lambda: set(bench.outcomes().values()) == {"delivered"} and len(bench.outcomes()) == 3)
        await bench.stop()

    run(work)
    counted = list(dict.fromkeys(server.keys()))
    assert counted == ["5f/opened", "5f/grown/2026-03-01T12:01Z", "5f/resolved"]
    assert Counter(server.keys())["5f/opened"] == 2  # once more than was needed: it could not be known
    ids = [request.json["id"] for request in server.requests]
    assert ids == server.keys()


def test_a_hanging_receiver_holds_up_no_other(server: HttpServer) -> None:
    other = HttpServer()
    server.seconds = 3 * SOON
    receivers = {"hangs": {"url": server.url, "timeout": "60s"}, "works": {"url": other.url}}
    bench = Bench(config_of(receivers))

    async def work() -> None:
        await bench.start()
        for number in range(30):
            await bench.send(spike(f"s{number}"))
        await until(lambda: len(other.requests) == 30)
        await bench.kill()

    run(work)
    assert not server.requests
    other.kill()


def test_a_rate_is_kept_and_what_is_left_out_is_counted(server: HttpServer) -> None:
    bench = Bench(config_of({"hook": {"url": server.url, "rate": "3/hour"}}))

    async def work() -> None:
        await bench.start()
        await bench.send(*(spike(f"s{number}") for number in range(3)))
        await until(lambda: len(server.requests) == 3)
        await bench.send(spike(), spike(state="grown", minute=1), spike(state="resolved", minute=2))
        await asyncio.sleep(0.2)
        assert len(server.requests) == 3
        assert bench.count('alerts_waiting{receiver="hook"}') == 1
        bench.now += 1200
        await until(lambda: len(server.requests) == 4)
        await asyncio.sleep(0.2)
        await bench.stop()

    run(work)
    assert server.keys()[3:] == ["5f/resolved"]
    assert bench.count('alerts_suppressed_total{reason="superseded"}') == 2
    assert bench.count('alerts_delivered_total{receiver="hook",state="resolved"}') == 1


def test_a_replay_of_last_month_pages_nobody(server: HttpServer) -> None:
    bench = Bench(config_of({"hook": {"url": server.url}}))
    bench.now = T0 + 30 * 86_400

    async def work() -> None:
        await bench.start()
        for number in range(50):
            assert await bench.send(spike(f"s{number}"), spike(f"s{number}", "resolved", 9))
        await asyncio.sleep(0.2)
        await bench.stop()

    run(work)
    assert not server.requests
    assert bench.outcomes("s7") == {"hook opened": "old", "hook resolved": "untold"}
    assert bench.count('alerts_suppressed_total{reason="old"}') == 50


def test_the_heartbeat_is_told_while_alerts_can_be_delivered(server: HttpServer) -> None:
    bench = Bench(
        config_of(heartbeat={"url": {"clear": server.url + "/ping"}, "every": "10s"}), {"hook": FakeReceiver()}
    )

    async def work() -> None:
        await bench.start()
        await until(lambda: len(server.requests) == 1)
        bench.now += 10
        await until(lambda: bench.count('heartbeats_total{outcome="sent"}') == 2)
        await bench.kill()
        bench.deliveries.away = True
        await bench.start()
        bench.now += 20
        await asyncio.sleep(0.2)
        assert len(server.requests) == 2, "it cannot deliver, so it must not say that it can"
        bench.deliveries.away = False
        await until(lambda: len(server.requests) == 3)
        await bench.agent.assign([], 1)
        bench.now += 20
        await asyncio.sleep(0.2)
        assert len(server.requests) == 3, "a worker without partitions tells nobody of alerts"
        await bench.stop()

    run(work)
    assert {request.path for request in server.requests} == {"/ping"}
    assert bench.count('heartbeats_total{outcome="sent"}') == 3


# ---------------------------------------------------------------- the agent alone


def test_nothing_is_acked_before_it_can_be_found_again() -> None:
    """The spikes are not to be read, so nobody could know what has to be told: the batch waits, and can be given up."""
    bench = Bench(receivers={"hook": (receiver := FakeReceiver())})

    async def work() -> None:
        bench.deliveries.away = True
        agent = await bench.start()
        batch = batch_of(spike())
        taking = asyncio.create_task(agent.process(batch))
        await asyncio.sleep(0.3)
        assert not taking.done()
        batch.given_up.set()
        assert await taking is False
        bench.deliveries.away = False
        assert await bench.send(spike())
        await until(lambda: receiver.took == ["5f/opened"])
        await bench.stop()

    run(work)


def test_deliveries_go_on_while_the_store_is_away_and_are_stored_when_it_is_back() -> None:
    bench = Bench(receivers={"hook": (receiver := FakeReceiver(lambda notice: Answer(False, "not yet")))})

    async def work() -> None:
        await bench.start()
        await bench.send(spike())
        await until(lambda: len(receiver.attempts) >= 2)
        bench.deliveries.away = True
        receiver.answer = lambda notice: Answer(True)
        await until(lambda: receiver.took == ["5f/opened"])
        assert bench.outcomes()["hook opened"] == "not yet"
        bench.deliveries.away = False
        await until(lambda: bench.outcomes()["hook opened"] == "delivered")
        await bench.stop()

    run(work)
    assert receiver.took == ["5f/opened"]


def test_what_is_not_told_is_stored_before_it_is_acked() -> None:
    bench = Bench(receivers={"hook": FakeReceiver()})
    bench.now = T0 + 30 * 86_400

    async def work() -> None:
        await bench.start(tick=False)
        assert await bench.send(spike())
        assert bench.outcomes() == {"hook opened": "old"}
        await bench.stop()

    run(work)


def test_a_spike_that_is_not_in_memory_is_looked_up() -> None:
    """It was let go, or another agent had it: that its opening was told stands in the rows alone."""
    bench = Bench(receivers={"hook": (receiver := FakeReceiver())})
    bench.deliveries.save([Delivery("5f", "hook", "opened", int(T0) // 60, 1, "delivered", int(T0 * 1000))])

    async def work() -> None:
        agent = await bench.start()
        assert await agent.process(batch_of(spike(), spike(state="resolved", minute=1)))
        await until(lambda: receiver.took == ["5f/resolved"])
        await bench.stop()

    run(work)
    assert receiver.attempts == ["5f/resolved"]


def test_what_was_read_for_partitions_that_are_gone_is_not_told() -> None:
    bench = Bench(receivers={"hook": (receiver := FakeReceiver())})
    bench.deliveries.put(spike())
    read, may_answer = bench.deliveries.spikes, threading.Event()

    def slowly(since: float) -> list[SpikeAlert]:
        found = read(since)
        may_answer.wait(10)
        return found

    async def work() -> None:
        bench.deliveries.spikes = slowly  # type: ignore[method-assign]
        agent = await bench.start(tick=False)
        reading = asyncio.create_task(agent.tick())
        await asyncio.sleep(0.1)
        await agent.assign([], 1)
        await agent.assign([partition_of(ALERTS_KEY.encode(), 4) ^ 1], 4)
        may_answer.set()
        await reading
        await agent.tick()
        await asyncio.sleep(0.1)
        await bench.stop()

    run(work)
    assert receiver.attempts == []


def test_a_partition_that_goes_to_another_agent_is_told_by_that_one() -> None:
    one = FakeReceiver(lambda notice: Answer(False, "no"))
    bench = Bench(receivers={"hook": one})

    async def work() -> None:
        first = await bench.start()
        await bench.send(spike())
        await until(lambda: one.attempts)
        waiting = 'engagement_alerts_waiting{receiver="hook"}'
        await until(lambda: bench.metrics.snapshot()[waiting] == 1)
        await first.assign([], 1)
        assert bench.metrics.snapshot()[waiting] == 0, "another agent tells of it"
        before = len(one.attempts)
        await asyncio.sleep(0.3)
        assert len(one.attempts) == before
        bench.receivers = {"hook": (other := FakeReceiver())}
        await bench.start()
        await until(lambda: other.took == ["5f/opened"])
        await until(lambda: bench.outcomes() == {"hook opened": "delivered"})
        await bench.stop()

    run(work)


def test_a_record_of_a_version_before_is_read() -> None:
    """Without the fields that it did not have."""
    later = (
        "severity",
        "counted_until",
        "seen_before",
        "seen_days",
        "top_counts",
        "top_urls",
        "group_id",
        "conversations",
    )
    old = {name: value for name, value in json.loads(SPIKE_ALERT.dump_json(spike())).items() if name not in later}
    [alert], dead = read_alerts([Run(TOPIC, "alert", 0, [Record(0, json.dumps(old).encode())])])
    assert not dead
    expected = {"severity": "warning", "counted_until": spike()["as_of"], "seen_before": None, "seen_days": None}
    lists = {"top_counts": [0, 0], "top_urls": ["", ""], "group_id": "5f", "conversations": ["hashtag:acme"]}
    assert alert == spike() | expected | lists


def test_the_owner_of_one_partition_tells_of_all_spikes_and_the_others_of_none() -> None:
    took = []
    for partition in range(4):
        bench = Bench(receivers={"hook": (receiver := FakeReceiver())})

        async def work(bench: Bench = bench, partition: int = partition) -> None:
            for number in range(20):
                bench.deliveries.put(spike(f"s{number}", conversation=f"hashtag:{number}"))
            await bench.start(partitions=(partition,))
            await asyncio.sleep(0.3)
            await bench.stop()

        run(work)
        took.append(len(receiver.took))
    assert sorted(took) == [0, 0, 0, 20]
    assert took[partition_of(ALERTS_KEY.encode(), 4)] == 20


def test_what_is_on_its_way_at_the_end_may_arrive_and_is_stored() -> None:
    bench = Bench(receivers={"hook": (receiver := FakeReceiver(seconds=0.3))})

    async def work() -> None:
        await bench.start()
        await bench.send(spike())
        assert not bench.agent.is_idle
        await bench.stop()

    run(work)
    assert receiver.is_closed
    assert bench.outcomes() == {"hook opened": "delivered"}


def test_a_receiver_that_raises_is_one_that_failed() -> None:
    def answer(notice: object) -> Answer:
        raise RuntimeError("a defect")

    receiver = FakeReceiver(answer)
    bench = Bench(receivers={"hook": receiver})

    async def work() -> None:
        await bench.start()
        await bench.send(spike())
        await until(lambda: len(receiver.attempts) >= 2)
        receiver.answer = lambda notice: Answer(True)
        await until(lambda: receiver.took)
        await until(lambda: bench.agent.is_idle)
        await bench.stop()

    run(work)


def test_what_is_no_alert_is_a_dead_letter() -> None:
    bench = Bench(receivers={"hook": (receiver := FakeReceiver())})
    good = SPIKE_ALERT.dump_json(spike())
    values = [b"{}", None, good.replace(b'"opened"', b'"begun"'), good]

    async def work() -> None:
        agent = await bench.start()
        run_ = Run(TOPIC, "alert", 2, [Record(number, value) for number, value in enumerate(values)])
        assert await agent.process(Batch([run_], {}))
        await until(lambda: receiver.took)
        await bench.stop()

    run(work)
    assert [(letter.partition, letter.offset, letter.field) for letter in bench.buried] == [
        (2, 0, "spike_id"),
        (2, 1, ""),
        (2, 2, "state"),
    ]
    assert "engagement schema --asyncapi" in bench.buried[0].reason


def test_without_a_file_alerts_are_taken_and_nobody_is_told() -> None:
    async def work() -> None:
        metrics = AlertMetrics(WorkerMetrics())
        agent = AlertAgent(None, AlertPorts(FakeDeliveryStore(), {}, lambda letters: None, metrics, Thread()))
        await agent.assign([0], 4)
        assert await agent.process(batch_of(spike()))
        await agent.tick()
        assert agent.is_idle
        await agent.close()

    run(work)


def test_reasons_of_metrics_are_those_of_rows() -> None:
    assert {*ALERT_REASONS} == {*SETTLED} - {"delivered"} | {"unrouted"}
