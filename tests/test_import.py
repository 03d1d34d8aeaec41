"""`engagement import` and `gharchive`: files, hours and topics of others, from the command to the events."""

import gzip
import json
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pyarrow
import pytest
import yaml
from click.testing import CliRunner, Result
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from local_http import QuietHandler, serving
from pyarrow import parquet

from pipeline.cli import engagement
from pipeline.errors import Refused, SettingsError, Unavailable
from pipeline.files.flaws import Flaw
from pipeline.kafka.client import open_admin
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from pipeline.topic_reader import TopicRecord, follow_topic, read_topic
from producers.event_lines import ParsedLine
from producers.mapping.decoders import AVRO, JSON, PROTOBUF, DecodingRule, open_decoder
from producers.mapping.file_import import FileImport
from producers.mapping.hours import HourFiles, hours_of, is_hours
from producers.mapping.mapper import EventMap, load_map
from producers.mapping.rows import read_rows
from producers.mapping.rules import FILE, InputRule
from producers.mapping.shipped import find_map
from producers.mapping.topic_import import OffsetFile, TopicImport
from producers.source import IDLE, BadInput, SourceRecord
from schemas.events import parse_event
from tests.end_to_end.checks import environment_of

LIKES = {
    "version": "1",
    "constants": {"channel": "shop"},
    "events": [
        {
            "kind": "like",
            "event_id": {"column": "Like ID"},
            "post_id": "post",
            "actor_id": "who",
            "occurred_at": {"path": "at", "time": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"},
        }
    ],
}


def likes_map(**more: Any) -> EventMap:
    return EventMap(FILE.validate_python(LIKES | more))


def imported(*names: Path, event_map: EventMap | None = None) -> tuple[list[dict[str, Any]], list[BadInput]]:
    source = FileImport(tuple(map(str, names)), event_map or likes_map())
    items = list(source.items())
    events = [json.loads(item.value or b"") for item in items if isinstance(item, SourceRecord)]
    return events, [item for item in items if isinstance(item, BadInput)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [
        ["Like ID", "post", "who", "at", "note"],
        ["l1", "p1", "José Müller", "01.07.2026 12:30", "says: hello"],
        ["l2", "p1", "", "01.07.2026 12:31", ""],
        ["1.2E+17", "p1", "ana", "01.07.2026 12:31", ""],
        ["l4", "p1", "ana", "31.02.2026 12:31", ""],
    ]
    text = "Export of Likes\r\n\r\n" + "".join(delimiter.join(row) + "\r\n" for row in rows)
    file = tmp_path / "likes.csv"
    file.write_bytes(text.encode(encoding))
    events, bad = imported(file)
    assert events == [
        {
            "channel": "shop",
            "kind": "like",
            "event_id": "l1",
            "post_id": "p1",
            "actor_id": "José Müller",
            "occurred_at": "2026-07-01T10:30:00.000000Z",
        }
    ]
    assert [(item.place, item.field) for item in bad] == [
        (f"{file}:1", ""),
        (f"{file}:5", "actor_id"),
        (f"{file}:6", "event_id"),
        (f"{file}:7", "occurred_at"),
    ]
    assert "spreadsheet" in bad[2].reason
    assert json.loads(bad[3].value or b"")["Like ID"] == "l4", "a row that cannot be mapped is kept"


def test_a_map_may_name_the_delimiter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("post;who,at\n1;2,3\n")
    assert list(read_rows(str(tmp_path / "a.csv"), InputRule(delimiter=";"))) == [(2, {"post": "1", "who,at": "2,3"})]


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n\n")
    assert list(read_rows(str(tmp_path / "a.csv"), InputRule())) == []


def test_ndjson_gzipped_or_not(tmp_path: Path) -> None:
    lines = b'{"a": 1}\n\n{broken\n[1]\n{"a": NaN}\n'
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(lines))
    for name in ("a.jsonl", "b.json.gz"):
        rows = list(read_rows(str(tmp_path / name), InputRule()))
        assert [(number, isinstance(row, Flaw)) for number, row in rows] == [
            (1, False),
            (3, True),
            (4, False),
            (5, True),
        ]


def test_parquet_rows_keep_their_types(tmp_path: Path) -> None:
    file = tmp_path / "reddit.parquet"
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {"id": f"c{n}", "author": f"u{n}", "created_utc": at, "link_id": "t3_a", "parent_id": "t3_a"} for n in range(5)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=2)
    events, bad = imported(file, event_map=load_map(find_map("reddit")))
    assert [(event["kind"], event["post_id"], event["occurred_at"]) for event in events] == [
        ("comment", "t3_a", "2026-01-01T00:00:00.000000Z")
    ] * 5
    assert bad == []


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1 no parquet at all PAR1")
    with pytest.raises(Refused, match="no Parquet file"):
        list(read_rows(str(file), InputRule()))
    table = pyarrow.Table.from_pylist([{"a": f"value {n}" * 50} for n in range(20_000)])
    parquet.write_table(table, file, row_group_size=1000, compression="gzip")
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    file.write_bytes(content)
    rows = [row for _, row in read_rows(str(file), InputRule())]
    assert isinstance(rows[-1], Flaw)
    assert len(rows) > 1000


def test_a_name_that_tells_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"input: \{format: csv\}"):
        list(read_rows(str(tmp_path / "likes.txt"), InputRule()))


def test_the_shipped_maps_are_maps() -> None:
    for name in ("gharchive", "reddit", "meta-content"):
        load_map(find_map(name))
    with pytest.raises(SettingsError, match=r"shipped are gharchive, meta-content, reddit"):
        find_map("nope")


def test_content_exports_of_meta(tmp_path: Path) -> None:
    file = tmp_path / "content.csv"
    file.write_text(
        "Post ID,Page ID,Page name,Title,Publish time,Permalink,Post type,Reactions,Comments,Shares\n"
        "10,7,Acme,Spring,07/01/2026 12:30,https://www.facebook.com/10,Photos,3,0,1\n",
        "utf-8-sig",
    )
    [post], bad = imported(file, event_map=load_map(find_map("meta-content")))
    assert bad == []
    assert (post["kind"], post["post_id"], post["actor_id"]) == ("post", "10", "7")
    assert post["labels"] == {"format": "Photos"}
    assert post["occurred_at"] == "2026-07-01T12:30:00.000000Z"


@pytest.mark.parametrize(
    ("name", "first", "count"),
    [
        ("2015-01-01-15", "2015-01-01-15", 1),
        ("2015-01-01-9..17", "2015-01-01-9", 9),
        ("2015-01-01", "2015-01-01-0", 24),
    ],
)
def test_names_of_hours(name: str, first: str, count: int) -> None:
    assert is_hours(name)
    assert hours_of(name)[0] == f"{first}.json.gz"
    assert len(hours_of(name)) == count


@pytest.mark.parametrize("name", ["2015-13-01-1", "2015-01-01-24", "2015-01-01-9..3", "2015-02-30"])
def test_hours_that_do_not_exist_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="names no hours"):
        hours_of(name)


@contextmanager
def answering(*answers: tuple[int, bytes, dict[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Runs a server that gives these answers, one a request; yields its address and the paths that were asked for."""
    left, asked = list(answers), []

    class Handler(QuietHandler):
        def respond(self) -> None:
            asked.append(self.path)
            status, body, headers = left.pop(0) if left else (404, b"", {})
            self.give(status, body, headers)

    with serving(Handler) as address:
        yield address, asked


def test_an_hour_is_fetched_once_and_whole(tmp_path: Path) -> None:
    body = gzip.compress(b'{"id": 1}\n')
    waits: list[float] = []
    failing = (503, b"", {"Retry-After": "7"}), (200, body, {"Content-Length": str(len(body) + 9)}), (200, body, {})
    with answering(*failing) as (base, asked):
        archive = HourFiles(tmp_path, base, waits.append)
        file = archive.fetch("2015-01-01-15.json.gz")
        assert file.read_bytes() == body
        assert archive.fetch("2015-01-01-15.json.gz") == file
    assert asked == ["/2015-01-01-15.json.gz"] * 3
    assert waits == [7.0, 4.0]
    assert [path.name for path in tmp_path.iterdir()] == ["2015-01-01-15.json.gz"]


def test_an_hour_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with answering() as (base, _), pytest.raises(Refused, match="not there"):
        HourFiles(tmp_path, base).fetch("2099-01-01-0.json.gz")
    with pytest.raises(Unavailable, match="does not come"):
        HourFiles(tmp_path, "http://127.0.0.1:9", lambda _: None).fetch("2015-01-01-0.json.gz")


SCHEMA = {
    "type": "record",
    "name": "Like",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "raw", "type": ["null", "bytes"]},
    ],
}


def encoded(row: dict[str, Any]) -> bytes:
    """A row in Avro, framed as of the registered schema 1."""
    content = BytesIO()
    fastavro.schemaless_writer(content, SCHEMA, row)
    return struct.pack(">bI", 0, 1) + content.getvalue()


@contextmanager
def registry() -> Iterator[str]:
    class Handler(QuietHandler):
        def respond(self) -> None:
            found = "/schemas/ids/1" in self.path
            missing = {"error_code": 40403, "message": "Schema not found"}
            body = json.dumps({"schema": json.dumps(SCHEMA)} if found else missing).encode()
            kind = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
            self.give(200 if found else 404, body, kind)

    with serving(Handler) as address:
        yield address


def test_avro_with_a_registry() -> None:
    good = encoded({"id": "l1", "at": datetime(2026, 1, 1, tzinfo=UTC), "raw": b"x"})
    with registry() as url:
        decode = open_decoder(DecodingRule(AVRO, url), "likes")
        assert decode(good) == {"id": "l1", "at": datetime(2026, 1, 1, tzinfo=UTC), "raw": "x"}
        for bad in (b"", b"{}", good[:-1], good[:6] + b"\xff" * 9, struct.pack(">bI", 0, 2) + b"abcdef"):
            with pytest.raises(ValueError, match=r"avro|registry"):
                decode(bad)


def test_a_registry_that_is_away_ends_the_import() -> None:
    decode = open_decoder(DecodingRule(AVRO, "http://user:secret@127.0.0.1:9"), "likes")
    with pytest.raises((Unavailable, Refused)) as caught:
        decode(struct.pack(">bI", 0, 1) + b"abcdef")
    assert "secret" not in str(caught.value)


def like_descriptors(path: Path) -> Any:
    """Writes the descriptors of a message shop.Like, as protoc does, and returns its class."""
    file = descriptor_pb2.FileDescriptorProto(name="like.proto", package="shop", syntax="proto3")
    message = file.message_type.add(name="Like")
    message.field.add(name="like_id", number=1, type=9, label=1)
    message.field.add(name="at_ms", number=2, type=3, label=1)
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Like"))


def test_protobuf_framed_as_of_a_registry(tmp_path: Path) -> None:
    like = like_descriptors(tmp_path / "like.desc")
    good = struct.pack(">bI", 0, 1) + b"\0" + like(like_id="l1", at_ms=5).SerializeToString()
    decode = open_decoder(DecodingRule(PROTOBUF, None, tmp_path / "like.desc", "shop.Like"), "likes")
    assert decode(good) == {"like_id": "l1", "at_ms": "5"}
    for bad in (b"", b"{}", good[:7] + b"\xff" * 20):
        with pytest.raises(ValueError, match="protobuf"):
            decode(bad)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (DecodingRule(AVRO), "--registry"),
        (DecodingRule(AVRO, "ftp://x"), "http://"),
        (DecodingRule(PROTOBUF), "--descriptors"),
        (DecodingRule(PROTOBUF, None, Path("/nowhere"), "a.B"), "/nowhere"),
    ],
)
def test_decodings_that_cannot_work_are_refused(rule: DecodingRule, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        open_decoder(rule, "likes")


def test_a_message_that_is_not_in_the_descriptors_is_refused(tmp_path: Path) -> None:
    like_descriptors(tmp_path / "like.desc")
    with pytest.raises(SettingsError, match=r"shop\.Share is not in"):
        open_decoder(DecodingRule(PROTOBUF, None, tmp_path / "like.desc", "shop.Share"), "likes")
    (tmp_path / "bad.desc").write_bytes(b"\xff\xff")
    with pytest.raises(SettingsError, match="protoc"):
        open_decoder(DecodingRule(PROTOBUF, None, tmp_path / "bad.desc", "shop.Like"), "likes")


ROWS = {
    "version": "1",
    "events": [
        {"kind": "like", "event_id": "id", "post_id": "post", "actor_id": "who", "occurred_at": "at"},
        {
            "when": "shared",
            "kind": "share",
            "event_id": "id",
            "post_id": "post",
            "actor_id": "who",
            "occurred_at": "at",
        },
    ],
}


def row(number: int, **more: Any) -> bytes:
    return json.dumps(
        {"id": f"l{number}", "post": f"p{number % 5}", "who": "u", "at": "2026-01-01T00:00:00Z"} | more
    ).encode()


class Topic:
    """Records of one partition, read as `follow_topic` does."""

    def __init__(self, *values: bytes | None) -> None:
        self._values = values

    def __call__(self, start: Any) -> Iterator[TopicRecord | None]:
        for offset in range(start.get(0, 0), len(self._values)):
            yield TopicRecord("foreign", 0, offset, 0, None, self._values[offset], ())
        while True:
            yield None


def topic_import(tmp_path: Path, topic: Topic) -> TopicImport:
    clock = iter(range(1_000_000))
    rows = EventMap(FILE.validate_python(ROWS))
    offsets = OffsetFile(tmp_path / "offsets.json", ("kafka", "foreign"))
    return TopicImport(topic, open_decoder(DecodingRule(JSON), "foreign"), rows, offsets, 5, lambda: float(next(clock)))


def test_a_topic_is_imported_behind_the_last_saved_record(tmp_path: Path) -> None:
    topic = Topic(row(0), row(1, shared=True), b"{", None, row(2, at="yesterday"), row(3))
    source = topic_import(tmp_path, topic)
    seen: list[Any] = []
    for item in source.items():
        seen.append(item)
        if isinstance(item, SourceRecord):
            source.save_position()
        if isinstance(item, SourceRecord) and item.kind == "share":
            break
    assert [item.kind for item in seen] == ["like", "like", "share"]
    rest = [item for item in topic_import(tmp_path, topic).items() if item is not IDLE]
    assert [item.place for item in rest if isinstance(item, BadInput)] == ["foreign 0 2", "foreign 0 4"]
    assert [item.value for item in rest if isinstance(item, BadInput)] == [b"{", row(2, at="yesterday")]
    assert [parse_event(item.value or b"")["event_id"] for item in rest if isinstance(item, SourceRecord)] == ["l3"]


def test_a_record_counts_as_sent_with_its_last_event(tmp_path: Path) -> None:
    topic = Topic(row(0, shared=True))
    source = topic_import(tmp_path, topic)
    next(source.items())
    source.save_position()
    assert len([item for item in topic_import(tmp_path, topic).items() if isinstance(item, SourceRecord)]) == 2


def test_offsets_of_another_import_are_refused(tmp_path: Path) -> None:
    OffsetFile(tmp_path / "o.json", ("a",)).write({0: 5})
    assert OffsetFile(tmp_path / "o.json", ("a",)).read() == {0: 5}
    with pytest.raises(Refused, match="--state"):
        OffsetFile(tmp_path / "o.json", ("b",)).read()
    (tmp_path / "o.json").write_text("[]")
    with pytest.raises(Refused, match="unreadable"):
        OffsetFile(tmp_path / "o.json", ("a",)).read()


@pytest.fixture
def foreign(settings: Settings) -> Iterator[str]:
    """A topic of somebody else's, with three partitions."""
    topic = f"{settings.topic_prefix}.foreign"
    with open_admin(settings) as admin:
        admin.create_topic(topic, 3, 1, {})
        yield topic
        admin.delete_topics([topic])


@pytest.mark.stack
def test_a_real_topic_is_imported_once(tables: Settings, foreign: str, tmp_path: Path) -> None:
    ensure_topics(tables)
    map_file = tmp_path / "rows.yaml"
    map_file.write_text(yaml.safe_dump(ROWS))

    def send(*values: bytes) -> None:
        with open_publisher(tables) as publisher:
            for number, value in enumerate(values):
                publisher.send(foreign, None, value, partition=number % 3)
            publisher.flush()

    def run(*options: str) -> Result:
        command = ["import", "--map", str(map_file), "--topic", foreign, "--until-idle", "2", "--json", *options]
        env = environment_of(tables, {"XDG_STATE_HOME": str(tmp_path)})
        return CliRunner(env=env).invoke(engagement, command)

    send(*(row(number) for number in range(20)), b"no row")
    first = run()
    assert first.exit_code == 0, first.output
    counts = json.loads(first.stdout)
    assert (counts["sent"], counts["bad_lines"]) == ({"like": 20}, 1)
    send(*(row(number) for number in range(20, 27)))
    assert json.loads(run().stdout)["sent"] == {"like": 7}
    sent = [parse_event(record.value or b"")["event_id"] for record in read_topic(tables, tables.topics.of("like"))]
    assert sorted(sent) == sorted(f"l{number}" for number in range(27))
    dead = [record.value for record in read_topic(tables, tables.topics.dead_letters)]
    assert dead == [b"no row"]


@pytest.mark.stack
def test_offsets_whose_records_are_gone_are_refused(settings: Settings, foreign: str) -> None:
    with pytest.raises(Refused, match="delete the saved position"):
        next(follow_topic(settings, foreign, {1: 5}))
    with pytest.raises(Unavailable, match="is not there"):
        next(follow_topic(settings, f"{foreign}.none", {}))


def test_a_dry_run_shows_rows_beside_their_events(tmp_path: Path) -> None:
    map_file, rows = tmp_path / "rows.yaml", tmp_path / "rows.ndjson"
    map_file.write_text(yaml.safe_dump(ROWS | {"events": [ROWS["events"][0] | {"when": "post"}]}))
    rows.write_bytes(b"\n".join([row(0), row(1, at=""), b'{"a": 1}', b"{", *(row(number) for number in range(20))]))
    shown = CliRunner().invoke(engagement, ["import", "--map", str(map_file), "--dry-run", str(rows)])
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert sum(line.startswith(str(rows)) for line in lines) == 10
    assert [line[:6] for line in lines[1:7:2]] == ["    ->", "    !!", "    --"]
    assert '"event_id": "l0"' in lines[1]
    assert "occurred_at" in lines[3]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["import", "--map", "gharchive"], "name files, or one --topic"),
        (["import", "--map", "gharchive", "--topic", "t", "f.json"], "name files, or one --topic"),
        (["import", "--map", "nope", "f.json"], "shipped are"),
        (["import", "--map", "gharchive", "/nowhere.json"], "/nowhere.json"),
        (["gharchive", "/nowhere.json"], "/nowhere.json"),
        (["gharchive", "2015-01-01-25"], "names no hours"),
        (["mastodon", "--server", "x.example"], "nothing to read"),
        (["mastodon", "--server", "x.example", "--public", "--token-file", "/nowhere"], "--token-file"),
    ],
)
def test_commands_that_cannot_work_say_why(command: list[str], words: str, tmp_path: Path) -> None:
    result = CliRunner(env={"XDG_STATE_HOME": str(tmp_path)}).invoke(engagement, command)
    assert result.exit_code != 0
    assert words in result.output + str(result.exception)


def test_the_map_of_the_documentation_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs/sources.md").read_text()
    [text] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "map.yaml").write_text(text)
    table = "status;action;Like ID;like_id;Created;tags;Campaign\n;fav;l1;;01.07.2026 12:30;a, b;spring\n"
    (tmp_path / "likes.csv").write_text(table + "test;fav;l2;;01.07.2026 12:30;;\n;unfav;u1;l1;01.07.2026 12:31;;\n")
    _, bad = imported(tmp_path / "likes.csv", event_map=load_map(tmp_path / "map.yaml"))
    assert [item.field for item in bad] == ["post_id", "post_id"], "a table has no product.id"
    row = {"action": "unfav", "Like ID": "u1", "like_id": "l1", "product": {"id": 7}, "user": {"login": "ana"}}
    [mapped] = load_map(tmp_path / "map.yaml").map_row(row | {"Created": "01.07.2026 12:31"})
    assert isinstance(mapped, ParsedLine)
    assert (mapped.event["target_id"], mapped.event["post_id"]) == ("l1", "shop-7")
