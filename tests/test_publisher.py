"""What every producer promises, asked of the fake, of the publisher over a fake connection, and of the publisher over
real Kafka."""

import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes_kafka import FakeBroker, FakeRecordProducer

from pipeline.errors import EngagementError, RecordTooLarge, Refused, Unavailable
from pipeline.kafka.client import open_admin
from pipeline.kafka.inflight import PartitionQueue
from pipeline.kafka.link import LinkPolicy
from pipeline.kafka.publisher import Publisher, open_publisher
from pipeline.kafka.publisher_policy import RECORD_OVERHEAD, PublisherPolicy
from pipeline.kafka.topics import partition_of
from pipeline.record_producer import RecordProducer
from pipeline.topic_reader import read_topic
from tests.patience import SOON

TOPIC = "engagement.likes"
PARTITIONS = 4
BROKER_LIMIT = 10_000
GOOD = 1000


class Bench:
    """A producer under test, its log, and how to take its broker away."""

    def __init__(
        self,
        producer: RecordProducer,
        read: Callable[[], list[tuple[int, bytes]]],
        go_away: Callable[[], None],
        come_back: Callable[[], None],
        outage_seconds: float,
    ) -> None:
        self.producer, self.read, self.go_away, self.come_back = producer, read, go_away, come_back
        self.outage_seconds = outage_seconds


def fake_producer(request: pytest.FixtureRequest) -> Iterator[Bench]:
    producer = FakeRecordProducer(PARTITIONS, BROKER_LIMIT)
    yield Bench(
        producer,
        lambda: [(place, value or b"") for _, place, _, value, _ in producer.sent],
        lambda: setattr(producer, "up", False),
        lambda: setattr(producer, "up", True),
        0.1,
    )


def over_fake_link(request: pytest.FixtureRequest) -> Iterator[Bench]:
    broker = FakeBroker(PARTITIONS, BROKER_LIMIT)
    publisher = Publisher(broker.open_link, PublisherPolicy(block_seconds=20, close_seconds=2))
    yield Bench(
        publisher,
        lambda: [(place, value or b"") for (_, place), queue in broker.log.items() for _, value in queue],
        lambda: setattr(broker, "up", False),
        lambda: setattr(broker, "up", True),
        0.6,
    )
    publisher.close()


def over_kafka(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A topic of its own on the real broker, which is stopped (SIGSTOP) for the outage: longer than the delivery
    timeout."""
    settings = request.getfixturevalue("settings")
    stack = request.getfixturevalue("fragile_stack")
    topic = settings.topic_prefix
    with open_admin(settings) as admin:
        admin.create_topic(topic, PARTITIONS, 1, {"max.message.bytes": str(BROKER_LIMIT)})
        publisher = open_publisher(
            settings,
            PublisherPolicy(block_seconds=60, close_seconds=20),
            LinkPolicy(delivery_seconds=1.0, compression="none"),
        )
        try:
            yield Bench(
                Renamed(publisher, topic),
                lambda: [(record.partition, record.value or b"") for record in read_topic(settings, topic)],
                lambda: stack.signal("kafka-1", signal.SIGSTOP),
                lambda: stack.signal("kafka-1", signal.SIGCONT),
                4.0,
            )
        finally:
            stack.signal("kafka-1", signal.SIGCONT)
            publisher.close()
            admin.delete_topics([topic])


class Renamed:
    """A producer whose records go to one topic, whatever they say."""

    def __init__(self, producer: RecordProducer, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self.flush, self.close = producer.flush, producer.close

    def send(self, topic: str, key: bytes | None, value: bytes | None, *rest: Any, **options: Any) -> None:
        self._producer.send(self._topic, key, value, *rest, **options)


@pytest.fixture(params=[fake_producer, over_fake_link, pytest.param(over_kafka, marks=pytest.mark.stack)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from request.param(request)


def send_good(
    producer: RecordProducer, told: dict[bytes, Any], count: int = GOOD, name: str = "good"
) -> list[tuple[bytes, bytes]]:
    records = [(b"key-%d" % (number % 37), f"{name}-{number}".encode()) for number in range(count)]
    for key, value in records:
        producer.send(TOPIC, key, value, lambda error, value=value: told.__setitem__(value, error))  # type: ignore[misc]
    return records


def assert_all_there_in_order(bench: Bench, records: list[tuple[bytes, bytes]], told: dict[bytes, Any]) -> None:
    """Each acked, each in the log once or more, on its partition, and first occurrences in the order of sending."""
    assert [told.get(value, "not told") for _, value in records] == [None] * len(records)
    log = bench.read()
    found = Counter(value for _, value in log)
    assert [value for _, value in records if not found[value]] == []
    wanted, first = defaultdict(list), defaultdict(list)
    for key, value in records:
        wanted[partition_of(key, PARTITIONS)].append(value)
    ours = {value for _, value in records}
    for partition, value in log:
        if value in ours and value not in first[partition]:
            first[partition].append(value)
    assert dict(first) == dict(wanted)


def test_one_refused_record_then_a_thousand_good_ones(bench: Bench) -> None:
    told: dict[bytes, Any] = {}
    refused: list[EngagementError | None] = []
    before = send_good(bench.producer, told, 20, "before")
    bench.producer.send(TOPIC, b"key-1", b"x" * (BROKER_LIMIT + 5000), refused.append)
    good = send_good(bench.producer, told)
    bench.producer.flush(60)
    assert len(refused) == 1
    assert isinstance(refused[0], Refused)
    assert_all_there_in_order(bench, before + good, told)


def test_a_refusal_that_nobody_was_told_of_is_raised_by_flush(bench: Bench) -> None:
    bench.producer.send(TOPIC, b"k", b"x" * (BROKER_LIMIT + 5000))
    bench.producer.send(TOPIC, b"k", b"good")
    with pytest.raises(Refused):
        bench.producer.flush(60)
    bench.producer.flush(60)
    assert b"good" in [value for _, value in bench.read()]


def test_an_outage_longer_than_the_delivery_timeout_then_a_thousand_good_ones(bench: Bench) -> None:
    told: dict[bytes, Any] = {}
    records = send_good(bench.producer, told, 10, "before")
    bench.producer.flush(60)
    bench.go_away()
    records += send_good(bench.producer, told, 100, "during")
    time.sleep(bench.outage_seconds)
    assert not any(value.startswith(b"during") for value in told), "acked by a broker that is away"
    bench.come_back()
    records += send_good(bench.producer, told)
    bench.producer.flush(60)
    assert_all_there_in_order(bench, records, told)


def test_flush_says_so_when_time_is_up(bench: Bench) -> None:
    bench.producer.send(TOPIC, b"k", b"first")
    bench.producer.flush(60)
    bench.go_away()
    bench.producer.send(TOPIC, b"k", b"late")
    with pytest.raises(Unavailable):
        bench.producer.flush(0.3)
    bench.come_back()
    bench.producer.flush(60)
    assert [value for _, value in bench.read()].count(b"late") >= 1


def test_an_oversized_record_is_refused_before_it_is_sent(bench: Bench) -> None:
    with pytest.raises(RecordTooLarge, match="shorten"):
        bench.producer.send(TOPIC, b"k", b"x" * 1_000_001)
    bench.producer.send(TOPIC, b"k", b"good")
    bench.producer.flush(60)
    assert [value for _, value in bench.read()] == [b"good"]


def test_headers_and_tombstones_pass() -> None:
    broker = FakeBroker()
    with Publisher(broker.open_link) as publisher:
        publisher.send(TOPIC, b"k", None, headers=[("a", b"1")])
    assert broker.values() == [None]


def test_a_record_of_nothing_is_no_record() -> None:
    with Publisher(FakeBroker().open_link) as publisher, pytest.raises(ValueError, match="key or a value"):
        publisher.send(TOPIC, None, None)


def test_memory_is_bounded_and_frees_itself() -> None:
    broker = FakeBroker()
    room = 5 * (RECORD_OVERHEAD + 20)
    publisher = Publisher(lambda: broker.open_link(60), PublisherPolicy(memory_bytes=room, block_seconds=0.2))
    publisher.send(TOPIC, b"k", b"1")
    publisher.flush()
    broker.up = False

    def send_many() -> None:
        for _ in range(100):
            publisher.send(TOPIC, b"k", b"2")

    with pytest.raises(Unavailable, match="not acked"):
        send_many()
    waiting = publisher.in_flight
    assert 1 <= waiting <= 6
    threading.Timer(0.05, lambda: setattr(broker, "up", True)).start()
    publisher.send(TOPIC, b"k", b"3")
    publisher.close()
    assert Counter(broker.values()) == {b"1": 1, b"2": waiting, b"3": 1}


def test_closing_without_a_broker_ends_and_tells_what_is_lost() -> None:
    broker = FakeBroker()
    publisher = Publisher(broker.open_link, PublisherPolicy(close_seconds=0.3))
    publisher.send(TOPIC, b"k", b"1")
    publisher.flush()
    broker.up = False
    told: list[EngagementError | None] = []
    publisher.send(TOPIC, b"k", b"2", told.append)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        publisher.close()
    assert time.monotonic() - started < SOON
    assert [type(error) for error in told] == [Unavailable]
    with pytest.raises(Refused, match="closed"):
        publisher.send(TOPIC, b"k", b"3")


def test_a_connection_that_may_not_be_opened_anew_ends_the_publisher() -> None:
    broker = FakeBroker()
    opened: list[int] = []

    def open_link() -> Any:
        opened.append(1)
        if len(opened) > 1:
            raise Refused("no such user; mend ENGAGEMENT_KAFKA_USER")
        return broker.open_link()

    publisher = Publisher(open_link)
    publisher.send(TOPIC, b"k", b"x" * 20_000)
    with pytest.raises(Refused, match="ENGAGEMENT_KAFKA_USER"):
        publisher.flush(5)
    with pytest.raises(Refused, match="ENGAGEMENT_KAFKA_USER"):
        publisher.send(TOPIC, b"k", b"more")
    with pytest.raises(Refused):
        publisher.close()


def test_threads_share_one_publisher() -> None:
    broker = FakeBroker()
    publisher = Publisher(broker.open_link)

    def work(name: int) -> None:
        for number in range(300):
            publisher.send(TOPIC, b"%d" % number, b"%d-%d" % (name, number))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.close()
    assert Counter(broker.values()) == Counter(b"%d-%d" % (name, number) for name in range(4) for number in range(300))


def test_nobody_queues_while_suspects_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure `send` goes on queueing: into what the publisher's thread would iterate over."""
    broker = FakeBroker(1)
    publisher = Publisher(broker.open_link)
    look, had_to_wait = PartitionQueue.has_suspect, []
    senders: list[threading.Thread] = []

    def slowly(queue: PartitionQueue) -> bool:
        sender = threading.Thread(target=publisher.send, args=(TOPIC, b"k", b"meanwhile"))
        senders.append(sender)
        sender.start()
        sender.join(0.1)
        had_to_wait.append(sender.is_alive())
        return look(queue)

    monkeypatch.setattr(PartitionQueue, "has_suspect", slowly)
    publisher.send(TOPIC, b"k", b"x" * (broker.limit + 1), lambda error: None)
    publisher.flush(20)
    monkeypatch.undo()
    for sender in senders:
        sender.join()
    publisher.close()
    assert had_to_wait
    assert all(had_to_wait)
    assert b"meanwhile" in broker.values()
