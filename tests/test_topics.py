"""Topics: made as declared, checked ever after; partitions as Kafka's own clients choose them."""

import pytest
from kafka.partitioner import murmur2

from pipeline.errors import Refused, SchemaDrift, Unavailable
from pipeline.kafka.client import client_options, open_admin, translate_error
from pipeline.kafka.topics import ensure_topics, partition_of, topic_specs
from pipeline.settings import Settings


# From Kafka's own UtilsTest.testMurmur2 (Apache Kafka, clients/src/test): signed 32-bit results.
@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_partitions_are_those_of_the_java_client(key: bytes, hashed: int) -> None:
    assert partition_of(key, 12) == (hashed & 0x7FFFFFFF) % 12
    assert murmur2(key) == hashed & 0xFFFFFFFF


def test_the_topics_that_are_declared() -> None:
    specs = {spec.name: spec for spec in topic_specs(Settings(topic_prefix="x", partitions=7, retention_hours=2))}
    sources = ["x.posts", "x.likes", "x.shares", "x.comments"]
    assert list(specs) == [*sources, "x.conversations", "x.alerts", "x.dead-letters"]
    assert {specs[name].partitions for name in [*sources, "x.conversations", "x.alerts"]} == {7}
    assert specs["x.likes"].configs["retention.ms"] == "7200000"
    assert specs["x.dead-letters"].partitions == 1
    assert int(specs["x.dead-letters"].configs["retention.ms"]) >= 30 * 24 * 3_600_000
    assert specs["x.dead-letters"].record_bytes > specs["x.likes"].record_bytes
    assert {spec.configs["message.timestamp.type"] for spec in specs.values()} == {"LogAppendTime"}
    assert {spec.configs["cleanup.policy"] for spec in specs.values()} == {"delete"}


def test_a_password_is_in_no_repr() -> None:
    options = client_options(
        Settings(kafka_security="SASL_PLAINTEXT", kafka_user="u", kafka_password="hunter2")  # type: ignore[arg-type]
    )
    assert options["sasl_plain_password"] == "hunter2"
    assert "hunter2" not in repr(options)
    assert "hunter2" not in f"{options}"


def test_errors_are_told_apart() -> None:
    assert isinstance(translate_error(TimeoutError("x"), "here"), Unavailable)
    assert isinstance(translate_error(ValueError("x"), "here"), Refused)


def test_without_a_broker_it_is_unavailable_soon() -> None:
    with (
        pytest.raises(Unavailable, match="ENGAGEMENT_KAFKA"),
        open_admin(Settings(kafka="127.0.0.1:1"), connect_seconds=0.5),
    ):
        pass


@pytest.mark.stack
def test_made_once_then_only_checked(settings: Settings) -> None:
    assert ensure_topics(settings) == [spec.name for spec in topic_specs(settings)]
    assert ensure_topics(settings) == []
    with open_admin(settings) as admin:
        counts = admin.partition_counts()
        configs = admin.topic_configs([settings.topics.of("like")], ["message.timestamp.type", "retention.ms"])
    assert {counts[name] for name in settings.topics.sources} == {settings.partitions}
    assert configs[settings.topics.of("like")] == {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(settings.retention_hours * 3_600_000),
    }


@pytest.mark.stack
def test_growth_is_refused_and_nothing_is_made(settings: Settings) -> None:
    with open_admin(settings) as admin:
        admin.create_topic(settings.topics.of("like"), 3, 1, {"message.timestamp.type": "LogAppendTime"})
        with pytest.raises(SchemaDrift, match=r"3 partitions, not 4.*ENGAGEMENT_TOPIC_PREFIX"):
            ensure_topics(settings)
        assert settings.topics.of("post") not in admin.partition_counts()


@pytest.mark.stack
@pytest.mark.parametrize(
    "configs",
    [
        {"message.timestamp.type": "CreateTime"},
        {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"},
    ],
)
def test_a_topic_of_another_kind_is_refused(settings: Settings, configs: dict[str, str]) -> None:
    with open_admin(settings) as admin:
        admin.create_topic(settings.topics.of("share"), settings.partitions, 1, configs)
    with pytest.raises(SchemaDrift, match="delete the topic"):
        ensure_topics(settings)
