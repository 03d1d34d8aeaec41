"""Replay: every event of a file once, in order, from where the last one stopped; truth is plain Python over the
file."""

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import DATA
from fakes_kafka import FakeRecordProducer

from pipeline.cli import engagement
from pipeline.errors import CheckFailed, Refused
from pipeline.kafka.topics import ensure_topics, partition_of
from pipeline.observability.progress import ProgressDisplay
from pipeline.settings import Settings
from pipeline.topic_reader import read_topic
from producers.bookmark import Bookmark, FilePosition
from producers.destinations import KafkaDestination
from producers.event_lines import read_post_csv
from producers.pacing import Pace, PacePolicy
from producers.sending import SendPolicy, send_all
from producers.sources.replay import ReplaySource
from producers.summary import Summary
from schemas.events import parse_event
from schemas.topics import Topics

TOPICS = Topics()


def replay(
    *names: str,
    to: FakeRecordProducer,
    strict: bool = False,
    complain: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Summary:
    """Sends files through the send loop."""
    destination = KafkaDestination(to, TOPICS, to.partitions)
    return send_all(ReplaySource(names, **options), destination, SendPolicy(strict), complain=complain)


def cascade(number: int, **changes: Any) -> dict[str, Any]:
    kind = ("share", "comment")[number % 2]
    line = {
        "event_id": f"e{number}",
        "type": kind,
        "post_id": f"p{number % 3}",
        "actor_id": f"u{number}",
        "parent_id": None,
    }
    return {**line, "ts": f"2011-06-13T01:16:{number % 60:02d}.711Z", "channel": "twitter", **changes}


def own(number: int) -> dict[str, Any]:
    when = "2026-01-01T00:00:00Z"
    return {
        "event_id": f"l{number}",
        "kind": "like",
        "post_id": "p",
        "actor_id": "a",
        "occurred_at": when,
        "extra": "é",
    }


def write(path: Path, lines: list[Any]) -> str:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


@pytest.mark.parametrize("name", ["events.ndjson", "events.ndjson.gz"])
def test_cascades_become_events(tmp_path: Path, name: str) -> None:
    lines = [cascade(number) for number in range(50)]
    producer = FakeRecordProducer()
    summary = replay(write(tmp_path / name, lines), to=producer)
    assert summary.as_dict()["sent"] == {"comment": 25, "share": 25}
    for line, (topic, partition, key, value, _) in zip(lines, producer.sent, strict=True):
        event = parse_event(value or b"")
        assert topic == f"engagement.{line['type']}s"
        assert (key, partition) == (
            line["post_id"].encode(),
            partition_of(line["post_id"].encode(), producer.partitions),
        )
        assert (event["event_id"], event["kind"], event["actor_id"]) == (
            line["event_id"],
            line["type"],
            line["actor_id"],
        )
        assert event["occurred_at"].isoformat(timespec="milliseconds") == line["ts"].replace("Z", "+00:00")


def test_our_own_lines_are_sent_byte_for_byte(tmp_path: Path) -> None:
    lines = [json.dumps(own(number), ensure_ascii=False) for number in range(5)]
    producer = FakeRecordProducer()
    replay(write(tmp_path / "own.ndjson", lines), to=producer)
    assert [value for *_, value, _ in producer.sent] == [line.encode() for line in lines]


def test_each_post_goes_before_its_first_event_and_none_is_left_out(tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    rows = "".join(f"p{n},author{n},2011-06-13T01:14:56.711Z,twitter,false,9\n" for n in range(5))
    posts.write_text("post_id,author_id,created_at,channel,label,events\n" + rows)
    producer = FakeRecordProducer()
    events = write(tmp_path / "e.ndjson", [cascade(number) for number in range(9)])
    replay(events, to=producer, posts=read_post_csv(posts))
    sent = [parse_event(value or b"") for *_, value, _ in producer.sent]
    assert Counter(event["event_id"] for event in sent if event["kind"] == "post") == {
        f"p{n}#post": 1 for n in range(5)
    }
    for post in ("p0", "p1", "p2"):
        assert next(event for event in sent if event["post_id"] == post)["kind"] == "post"
    assert {event["actor_id"] for event in sent if event["kind"] == "post"} == {f"author{n}" for n in range(5)}


def test_bad_lines_are_named_and_counted(tmp_path: Path) -> None:
    lines: list[Any] = [
        cascade(0),
        "{not json",
        "",
        cascade(1, type="poke"),
        cascade(2),
        "[]",
        cascade(3, ts="2011-06-13T01:16:44"),
    ]
    events = write(tmp_path / "e.ndjson", lines)
    complaints: list[str] = []
    producer = FakeRecordProducer()
    summary = replay(events, to=producer, complain=complaints.append)
    assert (summary.sent.total(), summary.bad) == (2, 4)
    assert [said.split(": ")[0] for said in complaints] == [f"{events}:{line}" for line in (2, 4, 6, 7)]
    assert ": type: " in complaints[1], "the field as the line names it"
    assert "timezone" in complaints[3]
    with pytest.raises(CheckFailed, match=r"e\.ndjson:2: .*--strict"):
        replay(events, to=FakeRecordProducer(), strict=True)


def test_of_a_gzip_file_that_is_cut_off_the_beginning_is_sent(tmp_path: Path) -> None:
    lines = [cascade(number) for number in range(1000)]
    events = Path(write(tmp_path / "e.ndjson.gz", lines))
    events.write_bytes(events.read_bytes()[:-20])
    complaints: list[str] = []
    producer = FakeRecordProducer()
    summary = replay(str(events), to=producer, complain=complaints.append)
    sent = [json.loads(value or b"")["event_id"] for *_, value, _ in producer.sent]
    assert sent == [line["event_id"] for line in lines[: len(sent)]]
    assert 900 < len(sent) < 1000
    assert summary.bad == 1
    assert complaints[0].startswith(f"{events}:{len(sent) + 1}: damaged gzip file: cut off at byte ")
    with pytest.raises(CheckFailed, match="damaged gzip"):
        replay(str(events), to=FakeRecordProducer(), strict=True)


def test_it_goes_on_where_the_bookmark_stands(tmp_path: Path) -> None:
    names = tuple(write(tmp_path / f"{n}.ndjson", [cascade(10 * n + m) for m in range(10)]) for n in range(3))
    bookmark = Bookmark(tmp_path / "deep" / "state.json", names)
    bookmark.write(FilePosition(file=1, line=4))
    producer = FakeRecordProducer()
    summary = replay(*names, to=producer, bookmark=bookmark)
    assert [json.loads(value or b"")["event_id"] for *_, value, _ in producer.sent] == [f"e{n}" for n in range(14, 30)]
    assert summary.skipped == 4
    assert bookmark.read() == FilePosition(), "a replay that is done leaves no bookmark"


def test_a_bookmark_of_other_files_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    Bookmark(path, ("a",)).write(FilePosition(0, 3))
    with pytest.raises(Refused, match="another replay"):
        Bookmark(path, ("b",)).read()
    path.write_text("{")
    with pytest.raises(Refused, match="delete it"):
        Bookmark(path, ("a",)).read()


def test_pace_by_rate_and_by_time() -> None:
    rate = Pace(PacePolicy(rate=10), started=100.0)
    assert [round(rate.delay(100.0, 0.0), 6) for _ in range(4)] == [0.0, 0.1, 0.2, 0.3]
    assert rate.delay(200.0, 0.0) == 0.0
    speed = Pace(PacePolicy(speed=3600), started=0.0)
    assert [speed.delay(0.0, 5_000.0 + hours * 3600) for hours in (0, 2, 1)] == [0.0, 2.0, 1.0]


def test_progress_without_a_terminal_writes_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("pipeline.observability.progress.time.monotonic", lambda: now[0])
    stream = StringIO()
    progress = ProgressDisplay(stream, "replayed")
    for second in range(21):
        now[0] = float(second)
        progress.show(second * 100, second / 100)
    progress.end()
    assert stream.getvalue().splitlines()[0] == "replayed 500 at 100/s, 5%, 95 s left"
    assert len(stream.getvalue().splitlines()) == 4
    assert "\r" not in stream.getvalue()


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", [True, False])
def test_progress_on_a_terminal_is_a_bar_that_goes(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    now = [0.0]
    monkeypatch.setattr("pipeline.observability.progress.time.monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with ProgressDisplay(stream, "compared [bold]") as progress:
        for second in range(5):
            now[0] = float(second)
            progress.show(second * 100, second / 4)
    shown = stream.getvalue()
    assert "compared [bold] 400 at 100/s" in shown
    assert "100%" in shown
    # Colours are codes such as 38;5;197m; moving the cursor and clearing a line are none.
    assert (re.search(r"\x1b\[(?:\d+;)*3\d", shown) is None) == no_color
    assert shown.endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay", "-", "--resume"], "standard input"),
        (["replay", "x", "--state", "y"], "--resume"),
        (["replay"], "EVENTS"),
        (["replay", "x", "--rate", "0"], "--rate"),
    ],
)
def test_wrong_use_exits_2_and_says_why(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(engagement, arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_posts_without_the_columns_are_refused(tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    posts.write_text("id,author\n1,2\n")
    with pytest.raises(Refused, match="post_id"):
        read_post_csv(posts)
    posts.write_text("post_id,author_id,created_at\np,a,yesterday\n")
    with pytest.raises(Refused, match=r"posts\.csv:2: created_at: .* no row of .* is a post"):
        read_post_csv(posts)


@pytest.mark.skipif(not (DATA / "cascades").is_dir(), reason="the cascades are not here: set ENGAGEMENT_TEST_DATA")
def test_the_posts_of_the_real_cascades() -> None:
    path = DATA / "cascades" / "twitter15_16_posts.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    posts = read_post_csv(path).posts
    assert len(rows) == len(posts) == 2116
    for row in rows:
        event = posts[row["post_id"]].event
        assert (event["actor_id"], event["channel"], event["kind"]) == (row["author_id"], row["channel"], "post")


@pytest.mark.stack
def test_killed_and_resumed_every_event_is_in_the_log(
    settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    ensure_topics(settings)
    total = 12_000
    events = write(tmp_path / "e.ndjson", [cascade(number) for number in range(total)])
    state = tmp_path / "state.json"
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    command += ["replay", events, "--resume", "--state", str(state), "--json"]
    environment = {**environment, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    slow = subprocess.Popen([*command, "--rate", "2000"], env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not state.exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(slow.pid, signal.SIGKILL)
    slow.wait()
    place = json.loads(state.read_text())["line"]
    assert 0 < place < total
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["skipped_lines"] == place
    assert summary["total"] == total - place
    assert not state.exists()
    found: Counter[str] = Counter()
    for topic in settings.topics.sources:
        for record in read_topic(settings, topic):
            assert record.partition == partition_of(record.key or b"", settings.partitions)
            found[json.loads(record.value or b"")["event_id"]] += 1
    assert set(found) == {f"e{number}" for number in range(total)}
