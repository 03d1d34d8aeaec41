"""Files that people really have, given to every command that reads files: damage costs the damaged line alone, is told
with file and line, and is counted; a file of which nothing can be read fails the command."""

import gzip
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from fakes_kafka import FakeRecordProducer

from pipeline.cli import engagement
from pipeline.errors import CheckFailed, EngagementError, Refused
from pipeline.files.text_file import DEFAULT_READING, LINE_BYTES, ReadPolicy
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from pipeline.topic_reader import read_topic
from processors.virality.fit.history import read_cascades
from processors.virality.parameters import SHIPPED_PATH, load_parameters
from producers import sending
from producers.bookmark import Bookmark, FilePosition
from producers.destinations import KafkaDestination
from producers.event_lines import PostTable, read_post_csv
from producers.sending import SendPolicy, send_all
from producers.source import SourceRecord
from producers.sources.replay import ReplaySource
from schemas.topics import Topics

TOPICS = Topics()


def own(number: int, **more: Any) -> bytes:
    event = {"event_id": f"e{number}", "kind": "share", "post_id": "p", "actor_id": f"a{number}"}
    return json.dumps({**event, "occurred_at": f"2026-11-01T10:{number:02}:00Z", **more}, ensure_ascii=False).encode()


def cascade(number: int, **more: Any) -> bytes:
    event = {"event_id": f"e{number}", "type": "share", "post_id": "p", "actor_id": f"a{number}", "parent_id": None}
    more = {"ts": f"2026-11-01T10:{number:02}:00Z", "channel": "x", **more}
    return json.dumps({**event, **more}, ensure_ascii=False).encode()


class Reading(NamedTuple):
    """What a command made of its files: event_ids, and what it told of bad lines."""

    events: list[str]
    told: list[str]


def replayed(*names: str, policy: ReadPolicy = DEFAULT_READING, **options: Any) -> Reading:
    told: list[str] = []
    producer = FakeRecordProducer(limit=1_000_000)
    source = ReplaySource(names, policy=policy, **options)
    summary = send_all(source, KafkaDestination(producer, TOPICS, 4), complain=told.append)
    assert summary.bad == len(told)
    return Reading([json.loads(value or b"")["event_id"] for *_, value, _ in producer.sent], told)


def backtested(*names: str, policy: ReadPolicy = DEFAULT_READING) -> Reading:
    """Reads as `forecast backtest` does; the minutes of the shares tell which events were read."""
    told: list[str] = []
    found = read_cascades(names, None, told.append, policy)
    minutes = (int(found.made[0]) + found.lag - TEN).tolist()
    return Reading([f"e{minute}" for minute in minutes], told)


TEN = int(datetime(2026, 11, 1, 10, tzinfo=UTC).timestamp()) // 60

READERS = {"replay": replayed, "forecast backtest": backtested}
FORMS = {"own": own, "cascades": cascade}

Reader = Callable[..., Reading]
Form = Callable[..., bytes]


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Reader:
    reader: Reader = READERS[request.param]
    return reader


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


def write(path: Path, lines: list[bytes], end: bytes = b"\n") -> str:
    path.write_bytes(b"".join(line + end for line in lines))
    return str(path)


@pytest.mark.parametrize(
    "bad",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * (2 << 20),
        b'{"event_id":"b\\ud800","kind":"share","post_id":"p","actor_id":"a","occurred_at":"2026-11-01T10:00:00Z"}',
        b'{"event_id":"b\\ud800","type":"share","post_id":"p","actor_id":"a","ts":"2026-11-01T10:00:00Z"}',
        b'{"event_id":"b","type":"share","post_id":"p","actor_id":"a","ts":"2026-11-01T10:00:00Z","x":"\\udfff"}',
        b'{"event_id":"b\xe9","kind":"share","post_id":"p","actor_id":"a","occurred_at":"2026-11-01T10:00:00Z"}',
        b'{"event_id":"b\xe9","type":"share","post_id":"p","actor_id":"a","ts":"2026-11-01T10:00:00Z"}',
        b'{"event_id":"b","type":"share","post_id":"p","actor_id":"a","ts":"2026-11-01T10:00:00Z","x":'
        + b"9" * 5000
        + b"}",
        own(1, kind="share", occurred_at="0001-01-01T00:00:00+14:00"),
        cascade(1, ts="0001-01-01T00:00:00+14:00"),
        own(1, occurred_at="2026-11-01T10:00:00"),
        cascade(1, type=["share"]),
        cascade(1, type={"ts": 1}),
        b'{"type":{},"ts":[]}',
        b"# comment line",
        b"event_id,kind,post_id",
        b"{",
        b"[]",
        b"null",
        b'"ts" "type"',
        b"\0\0\0",
        b"\0",
        b"\xff\xfe\xfd",
        b'{"kind":"header","version":1}',
        b'{"type":"header","ts":null}',
    ],
    ids=lambda bad: bad[:60].decode("ascii", "backslashreplace"),
)
@pytest.mark.parametrize("at", [0, 2])
def test_a_bad_line_costs_one_line_wherever_it_stands(
    tmp_path: Path, read: Reader, form: Form, bad: bytes, at: int
) -> None:
    lines = [form(number) for number in range(4)]
    lines[at:at] = [bad]
    events = write(tmp_path / "e.ndjson", lines)
    found = read(events)
    assert found.events == ["e0", "e1", "e2", "e3"]
    [told] = found.told
    assert told.startswith(f"{events}:{at + 1}: ")
    assert 10 < len(told) - len(events) < 400


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_events_in_any_unicode_with_any_line_ends(
    tmp_path: Path, read: Reader, form: Form, end: bytes, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    lines = b"".join(form(number, text="José 山田 👍") + end for number in range(4))
    (tmp_path / "e").write_bytes(pack(lines.decode().encode(encoding)))
    assert read(str(tmp_path / "e")) == Reading(["e0", "e1", "e2", "e3"], [])


def test_the_encoding_that_is_named_is_used(tmp_path: Path, read: Reader, form: Form) -> None:
    lines = b"".join(form(number, channel="José") + b"\n" for number in range(4))
    (tmp_path / "e").write_bytes(lines.decode().encode("cp1252"))
    assert read(str(tmp_path / "e"), policy=ReadPolicy("cp1252")) == Reading(["e0", "e1", "e2", "e3"], [])
    lines = [form(0), form(1, channel="José").decode().encode("cp1252"), form(2)]
    found = read(write(tmp_path / "e", lines))
    assert (found.events, len(found.told)) == (["e0", "e2"], 1), "JSON is UTF-8: no encoding is guessed"


def test_lines_of_both_formats_may_stand_in_one_file(tmp_path: Path, read: Reader) -> None:
    events = write(tmp_path / "e", [own(0), cascade(1), own(2, type="x", ts="y"), cascade(3, kind="x")])
    assert read(events) == Reading(["e0", "e1", "e2", "e3"], [])


def test_a_damaged_gzip_file_is_read_up_to_the_damage(tmp_path: Path, read: Reader, form: Form) -> None:
    events = [f"e{number}" for number in range(59)]
    lines = [form(number, noise=random.Random(number).randbytes(2000).hex()) for number in range(59)]
    packed = bytearray(gzip.compress(b"\n".join(lines)))
    for name, damage, told in (
        ("middle", slice(len(packed) // 2, len(packed) // 2 + 50), 1),
        ("cut", slice(-20, None), 1),
    ):
        damaged = packed.copy()
        damaged[damage] = b"" if name == "cut" else bytes(byte ^ 0xFF for byte in packed[damage])
        (tmp_path / name).write_bytes(damaged)
        notices: list[str] = []
        found = read(str(tmp_path / name), policy=ReadPolicy(notify=notices.append))
        good = events[: len(found.events)]
        assert found.events == good
        assert len(good) > 25
        assert told <= len(found.told) <= 3
        assert "damaged gzip file" in found.told[-1]
        assert notices[-1].startswith(f"{tmp_path / name}: damaged: what stands from line ")


def test_of_a_line_of_100_mb_the_memory_is_not_taken(tmp_path: Path, read: Reader) -> None:
    with gzip.open(tmp_path / "e.gz", "wb", compresslevel=1) as stream:
        for piece in (own(0), b"\n", *([b"[" * (1 << 20)] * 100), b"\n", own(1)):
            stream.write(piece)
    began = time.process_time()
    found = read(str(tmp_path / "e.gz"))
    assert (found.events, len(found.told)) == (["e0", "e1"], 1)
    assert time.process_time() - began < 20


def big(number: int, size: int) -> bytes:
    return own(number, extra="x" * (size - len(own(number, extra=""))))


@pytest.mark.parametrize("size", [2_000_000, LINE_BYTES + 1, LINE_BYTES, 1_000_001])
def test_a_line_too_long_for_kafka_is_one_bad_line_of_a_replay(tmp_path: Path, size: int) -> None:
    events = write(tmp_path / "e", [own(0), big(1, size), own(2)])
    assert len(big(1, size)) == size
    found = replayed(events)
    assert found.events == ["e0", "e2"]
    assert found.told[0].startswith(f"{events}:2: ")
    with pytest.raises(CheckFailed, match=r"e:2: .*--strict"):
        send_all(ReplaySource((events,)), KafkaDestination(FakeRecordProducer(), TOPICS, 4), SendPolicy(strict=True))


def test_a_line_as_long_as_kafka_takes_is_sent(tmp_path: Path) -> None:
    size = 1_000_000 - len("p")
    assert replayed(write(tmp_path / "e", [own(0), big(1, size), own(2)])) == Reading(["e0", "e1", "e2"], [])


@pytest.mark.parametrize("size", [2_000_000, 1_000_001])
def test_a_resumed_replay_goes_on_behind_a_line_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(sending, "SAVE_SECONDS", -1.0)  # a position is saved behind every item
    names = (write(tmp_path / "e", [own(0), big(1, size), own(2), own(3)]),)
    bookmark = Bookmark(tmp_path / "state.json", names)

    class Killed(Exception):
        """The process ends here."""

    class Dying(KafkaDestination):
        def add(self, record: SourceRecord) -> None:
            if b'"e3"' in (record.value or b""):
                raise Killed
            super().add(record)

    with pytest.raises(Killed):
        send_all(ReplaySource(names, bookmark=bookmark), Dying(FakeRecordProducer(limit=1 << 20), TOPICS, 4))
    assert bookmark.read() == FilePosition(0, 3)
    assert replayed(*names, bookmark=bookmark) == Reading(["e3"], [])


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"file": -1, "line": 0, "names": []}',
        b'{"file": 0, "line": 1e400, "names": []}',
        b'{"file": 0, "line": "3", "names": []}',
        b'{"file": 0, "line": 3, "names": 7}',
        b"\xff\xfe",
        b"[]",
        b"",
    ],
)
def test_a_damaged_bookmark_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(Refused, match=r"state\.json: unreadable .*; delete it to start anew"):
        Bookmark(tmp_path / "state.json", ()).read()


HEAD = "post_id,author_id,created_at,channel"
GOOD = "p1,ann,2026-11-01T10:00:00Z,mastodon"


def posts_of(path: Path) -> tuple[dict[str, str], list[str]]:
    """Returns authors by post, and what is told of bad rows."""
    table: PostTable = read_post_csv(path)
    return {post: parsed.event["actor_id"] for post, parsed in table.posts.items()}, [
        f"{bad.place}: {bad.reason}" for bad in table.bad
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("mastodon", "author_id: "),
        ("", None),
        (",,,", None),
        (",ann,2026-11-01T10:00:00Z,mastodon", "post_id: "),
        ("p2,ann,2026-11-01 10:00:00,mastodon", "created_at: "),
        ("p2,ann,noon,mastodon", "created_at: "),
        ("p2,ann,9999-99-99T00:00:00Z,mastodon", "created_at: "),
        ("p1,bob,2026-11-01T11:00:00Z,x", "post_id: 'p1' stands at "),
        ("p2,,2026-11-01T10:00:00Z,", "author_id: "),
        ("p2,a\0,2026-11-01T10:00:00Z,", "author_id: holds a NUL"),
        (f"p2,{'a' * 200_000},2026-11-01T10:00:00Z,x", "author_id: "),
        (f"p2,{'a' * 2_000_000},2026-11-01T10:00:00Z,x", "a line of 2,0"),
        (f"{'p' * 512},ann,2026-11-01T10:00:00Z,x", "post_id: "),
        ("p2,ann,2026-11-01T10:00:00Z,x,y", "5 values for 4 columns"),
        ('p2,"ann,2026-11-01T10:00:00Z,x', "not a row of CSV"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_bad_row_of_posts_costs_one_row(tmp_path: Path, row: str, said: str | None, end: str) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(end.join([HEAD, GOOD, row, GOOD.replace("p1", "p3"), ""]).encode("utf-8-sig"))
    authors, told = posts_of(path)
    assert authors == {"p1": "ann", "p3": "ann"}
    if said is None:
        assert told == []
    else:
        assert [complaint.startswith(f"{path}:3: {said}") for complaint in told] == [True], told


def test_a_row_of_posts_may_have_a_long_text_beside(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text(f'text,{HEAD}\n"{"long, " * 33_000}\nand more",{GOOD}\n')
    assert posts_of(path) == ({"p1": "ann"}, [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_posts_in_any_encoding(tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(pack(f"{HEAD}\r\n{GOOD.replace('ann', 'José')}\r\n".encode(encoding)))
    assert posts_of(path) == ({"p1": "José"}, [])


def test_bad_rows_of_posts_count_as_bad_lines_of_the_replay(tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    posts.write_text(f"{HEAD}\n{GOOD}\nshort\n")
    events = write(tmp_path / "e", [own(0), b"{", own(1)])
    found = replayed(events, posts=read_post_csv(posts))
    assert found.events == ["e0", "e1", "p1#post"]
    assert [complaint.split(": ")[0] for complaint in found.told] == [f"{posts}:3", f"{events}:2"]


@pytest.mark.parametrize("content", ["", HEAD, f"{HEAD}\nshort\n", "\n"])
def test_posts_without_a_post_fail(tmp_path: Path, content: str) -> None:
    (tmp_path / "posts.csv").write_text(content)
    with pytest.raises(Refused, match=r"posts\.csv"):
        read_post_csv(tmp_path / "posts.csv")


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(engagement, [str(argument) for argument in arguments], input=stdin)


SERIES = [f"2026-01-05 00:{minute:02}:00,5" for minute in range(20)]


def series(path: Path, lines: list[str], end: str = "\n", encoding: str = "utf-8") -> Path:
    path.write_bytes("".join(line + end for line in ["timestamp,value", *lines]).encode(encoding))
    return path


def judged(*arguments: object) -> tuple[dict[str, Any], list[str]]:
    """Returns the report of `spikes backtest`, and what it told of bad rows."""
    done = run("spikes", "backtest", *arguments, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout), done.stderr.splitlines()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("9999-12-31T23:59:00-14:00,5", "timestamp '9999-12-31T23:59:00-14:00' is not from 1970 to 2105"),
        ("1767571320000,5", "timestamp '1767571320000' is not from 1970 to 2105; are these milliseconds"),
        ("1767571320000000,5", "timestamp '1767571320000000' is not"),
        ("9" * 400 + ",5", "timestamp '999"),
        ("0001-01-01T00:00:00+14:00,5", "timestamp '0001-01-01T00:00:00+14:00' is not"),
        ("2105-12-31 00:00:00,5", "timestamp 2105-12-31 00:00:00 is after times of lines that follow"),
        ("1970-01-01 00:00:00,5", "timestamp 1970-01-01 00:00:00 is not after the line before"),
        ("2026-01-05 00:09:00,7", "timestamp 2026-01-05 00:09:00 is not after the line before"),
        ("2026-01-05 00:09:30,\0", "value '\\x00' is not a count"),
        ("2026-01-05 00:09:30,inf", "value 'inf' is not a count"),
        ("2026-01-05 00:09:30,1,234", "3 values for 2 columns"),
        ("2026-01-05 00:09:30", "value '' is not a count"),
        ("x" * 2_000_000, "a line of 2,000,000 bytes"),
        ('"2026-01-05 00:09:30,5', "not a row of CSV: a quote is not closed"),
        ("\ud83d,5", "not UTF-8, byte 0xed"),
    ],
    ids=lambda row: row[:30],
)
def test_a_bad_row_of_a_series_costs_one_row_and_the_command_ends(tmp_path: Path, row: str, said: str) -> None:
    whole, _ = judged(series(tmp_path / "series.csv", SERIES))
    path = tmp_path / "series.csv"
    path.write_bytes("\n".join(["timestamp,value", *SERIES[:10], row, *SERIES[10:]]).encode("utf-8", "surrogatepass"))
    began = time.process_time()
    report, told = judged(path)
    assert time.process_time() - began < 10
    assert report == whole | {"bad_lines": 1}
    assert told[0].startswith(f"{path}:12: {said}")
    assert told[1:] == ["1 line was none of the counts and was left out"]
    strict = run("spikes", "backtest", path, "--strict")
    assert strict.exit_code == 1
    assert str(strict.exception).startswith(f"{path}:12: ")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_series_in_any_encoding(tmp_path: Path, end: str, encoding: str) -> None:
    whole, _ = judged(series(tmp_path / "series.csv", SERIES))
    assert judged(series(tmp_path / "series.csv", SERIES, end, encoding)) == (whole, [])
    packed = tmp_path / "series.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "series.csv").read_bytes()))
    assert judged(packed) == (whole, [])


def test_series_and_labels_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    good = series(tmp_path / "series.csv", SERIES)
    labels = tmp_path / "labels.json"
    for content in (b"[" * 100_000, b'{"series": "\\ud800"}', b"", b"9" * 5000):
        labels.write_bytes(content)
        done = run("spikes", "backtest", good, "--labels", labels)
        assert done.exit_code == 1
        assert f"{labels}: not JSON" in str(done.exception)
    window = '{"series": {"windows": [["2026-01-05 00:01:00", "2026-01-05 00:05:00"]]}}'
    for encoding in ("utf-8-sig", "utf-16"):
        labels.write_bytes(window.encode(encoding))
        assert judged(good, "--labels", labels)[0]["thresholds"][0]["windows"] == 1


def test_parameters_of_the_forecast_in_any_unicode(tmp_path: Path) -> None:
    shipped, path = SHIPPED_PATH.read_text("utf-8"), tmp_path / "forecast.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text(shipped, encoding)
        assert load_parameters(path).ages.tolist() == load_parameters().ages.tolist() == json.loads(shipped)["ages"]
        assert load_parameters(path).scale.tolist() == json.loads(shipped)["scale"]
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(EngagementError, match="forecast fit"):
        load_parameters(path)


COMMANDS = (("replay",), ("forecast", "backtest"), ("spikes", "backtest"))


@pytest.mark.parametrize("command", COMMANDS)
def test_files_that_are_not_there_fail_before_anything_is_done(tmp_path: Path, command: tuple[str, ...]) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        done = run(*command, path)
        assert done.exit_code == 1
        assert str(done.exception) == f"{path}: {reason}; name a readable file, or - for standard input"
    twice = run(*command, "-", "-")
    assert (twice.exit_code, "standard input can be read once" in twice.output) == (2, True)


@pytest.mark.parametrize("command", [(), *COMMANDS])
def test_the_help_tells_when_a_command_exits_with_1(command: tuple[str, ...]) -> None:
    said = " ".join(run(*command, "--help").output.split())
    assert "xits with 1 " in said or "exits with 0 (done), 1 (failed" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_encoding_is_wrong_use(command: tuple[str, ...]) -> None:
    done = run(*command, __file__, "--encoding", "klingon")
    assert done.exit_code == 2
    assert "'klingon' is no encoding; name one such as utf-8" in " ".join(done.output.split())


def test_posts_that_are_not_there_fail(tmp_path: Path) -> None:
    events = write(tmp_path / "e", [own(0)])
    for command in COMMANDS[:2]:
        done = run(*command, events, "--posts", tmp_path / "none.csv")
        assert done.exit_code == 1
        assert "none.csv: No such file or directory" in str(done.exception)


def test_a_pipe_cannot_be_resumed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = run("replay", tmp_path / "fifo", "--resume")
    assert (done.exit_code, "--resume needs files" in done.output) == (2, True)


def test_what_has_no_event_fails_the_backtest(tmp_path: Path) -> None:
    readme = write(tmp_path / "README.md", [b"# A page", b"", b"of text"])
    for arguments in ([readme], [readme, write(tmp_path / "empty", [])], [os.devnull]):
        done = run("forecast", "backtest", *arguments)
        assert done.exit_code == 1
        assert "no event in the files" in str(done.exception)
    assert f"{readme}:1: Invalid JSON" in run("forecast", "backtest", readme).stderr


def test_bad_lines_of_the_backtest_are_counted_or_end_it(tmp_path: Path) -> None:
    events = write(tmp_path / "e", [own(0), b"{", *map(own, range(1, 30))])
    done = run("forecast", "backtest", events, "--least-shares", 1, "--json")
    assert (done.exit_code, json.loads(done.stdout)["bad_lines"]) == (0, 1)
    strict = run("forecast", "backtest", events, "--strict")
    assert (strict.exit_code, type(strict.exception)) == (1, CheckFailed)
    assert run("forecast", "backtest", "-", "--least-shares", 1, stdin=Path(events).read_bytes()).exit_code == 0


def test_no_more_than_twenty_bad_lines_are_named(tmp_path: Path) -> None:
    events = write(tmp_path / "e", [own(0), *[b"{"] * 50])
    said = run("forecast", "backtest", events, "--least-shares", 1).stderr.splitlines()
    assert [line.split(": ")[0] for line in said[:20]] == [f"{events}:{number}" for number in range(2, 22)]
    assert said[20:] == ["more bad lines are only counted", "50 lines were not events and were left out"]


def test_standard_input_that_is_closed_is_told() -> None:
    program = "import sys; sys.stdin = None; from pipeline.cli import main; main()"
    arguments = [sys.executable, "-c", program, "spikes", "backtest", "-"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "standard input is closed" in done.stderr


def test_a_series_from_standard_input_and_from_a_pipe(tmp_path: Path) -> None:
    content = series(tmp_path / "-", SERIES).read_bytes()
    done = run("spikes", "backtest", "-", "--json", stdin=content)
    assert json.loads(done.stdout)["series"][0]["rows"] == 20
    os.mkfifo(tmp_path / "series.csv")
    writer = threading.Thread(target=(tmp_path / "series.csv").write_bytes, args=(content,))
    writer.start()
    assert judged(tmp_path / "series.csv")[0]["series"][0]["rows"] == 20
    writer.join()


@pytest.mark.stack
def test_the_exit_code_of_a_replay_tells_whether_anything_was_read(
    settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    ensure_topics(settings)
    readme = write(tmp_path / "README.md", [b"# A page", b"", b"of text"])
    events = write(tmp_path / "e.ndjson", [b"# comment line", cascade(1), big(2, 2_000_000), cascade(3)])
    posts = tmp_path / "posts.csv"
    posts.write_bytes(f"{HEAD}\r\n{GOOD.replace('ann', 'José')}\r\nshort\r\n".encode("cp1252"))

    def replay(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        program = [sys.executable, "-c", "from pipeline.cli import main; main()", "replay"]
        return subprocess.run(
            [*program, *map(str, arguments)], env=environment, input=stdin, capture_output=True, check=False
        )

    done = replay(readme, "--json")
    assert (done.returncode, json.loads(done.stdout)["bad_lines"]) == (1, 2)
    assert f"{readme}:1: Invalid JSON" in done.stderr.decode()
    assert f"engagement: {readme}: no event in the files" in done.stderr.decode()
    assert replay("-").returncode == 1
    assert replay(readme, events, "--strict").returncode == 1
    done = replay(readme, events, "--posts", posts, "--json", "--resume", "--state", tmp_path / "state")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent"] == {"post": 1, "share": 2}
    told = [line.split(": ")[0] for line in done.stderr.decode().splitlines()]
    assert told == [str(posts), f"{posts}:3", f"{readme}:1", f"{readme}:3", f"{events}:1", f"{events}:3"]
    assert replay("-", stdin=gzip.compress(cascade(4)) + b"\r\n").returncode == 0
    found = [
        json.loads(record.value or b"") for topic in settings.topics.sources for record in read_topic(settings, topic)
    ]
    assert sorted(event["event_id"] for event in found) == ["e1", "e3", "e4", "p1#post"]
    assert [event["actor_id"] for event in found if event["kind"] == "post"] == ["José"]
