"""Bluesky over a real WebSocket: every frame counts once, whatever the host and the network do."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from fakes_bluesky import LIKE, POST, START, account, delete, did, like, post, reply, repost, uri
from fakes_kafka import FakeRecordProducer
from jetstream_server import Host, JetstreamServer, Unkindness, as_v2

from pipeline.dead_letters import FusePolicy
from pipeline.embedded.ports import find_free_port
from pipeline.errors import FuseBlown, Refused, SettingsError, Unavailable
from producers import sending
from producers.bluesky import source as bluesky_source
from producers.bluesky.at_uri import EVENT_COLLECTIONS
from producers.bluesky.jetstream import stream_position
from producers.bluesky.jetstream.compression import Compression
from producers.bluesky.jetstream.connection import ConnectionPolicy, JetstreamConnection
from producers.bluesky.jetstream.endpoints import Wanted, parse_endpoint
from producers.bluesky.jetstream.stream_position import Position
from producers.bluesky.record_store import RecordStore
from producers.bluesky.source import BlueskyPolicy, BlueskySource
from producers.destinations import KafkaDestination
from producers.sending import send_all
from producers.summary import Summary
from schemas.topics import Topics
from tests.patience import SOON

TOPICS = Topics()
QUICK = ConnectionPolicy(pause=0.02, longest_pause=0.1, open=5, ping=5, tick=0.05)
EVERYTHING = Wanted(tuple(EVENT_COLLECTIONS.values()))
IDLE = 1.0
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


@pytest.fixture(autouse=True)
def small_rewind(monkeypatch: pytest.MonkeyPatch) -> None:
    """These streams have an event a second, not a thousand."""
    monkeypatch.setattr(stream_position, "REWIND_EVENTS", 5)


class Run:
    """Runs of a source into the same store and the same Kafka."""

    def __init__(self, folder: Path) -> None:
        self.producer = FakeRecordProducer()
        self.path = folder / "bluesky.sqlite"
        self.complaints: list[str] = []

    def until_idle(
        self,
        *urls: str,
        wanted: Wanted | None = None,
        compression: Compression | None = None,
        policy: BlueskyPolicy | None = None,
        connection: ConnectionPolicy = QUICK,
    ) -> Summary:
        """Receives until nothing new has come for IDLE seconds."""
        stream = JetstreamConnection(tuple(map(parse_endpoint, urls)), wanted or EVERYTHING, compression, connection)
        source = BlueskySource(stream, lambda: RecordStore(self.path), policy or BlueskyPolicy(until_idle=IDLE))
        try:
            destination = KafkaDestination(self.producer, TOPICS, 4)
            return send_all(source, destination, complain=self.complaints.append)
        finally:
            source.close()

    @property
    def ids(self) -> Counter[tuple[str, str, str]]:
        """How often each event was sent: (kind, post_id, event_id)."""
        found: Counter[tuple[str, str, str]] = Counter()
        for topic, _, _, value, _ in self.producer.sent:
            if topic != TOPICS.dead_letters:
                event = json.loads(value or b"")
                found[event["kind"], event["post_id"], event["event_id"]] += 1
        return found

    @property
    def letters(self) -> list[tuple[bytes | None, dict[str, str]]]:
        """Dead letters: bytes and headers."""
        return [
            (value, {name: fact.decode() for name, fact in headers or []})
            for topic, _, _, value, headers in self.producer.sent
            if topic == TOPICS.dead_letters
        ]

    @property
    def position(self) -> Position | None:
        store = RecordStore(self.path)
        try:
            return store.position()
        finally:
            store.close()


def some_frames(number: int, version: str = "v1") -> list[Any]:
    """Posts, likes, reposts, replies, likes that are taken back: each makes one event. One frame a second."""
    made = []
    for n in range(number):
        target = uri("ana", POST, f"p{n // 10}")
        made.append(
            [
                post("ana", f"p{n // 10}", n),
                like(f"u{n}", f"l{n}", target, n),
                repost(f"u{n}", f"r{n}", target, n),
                reply(f"u{n}", f"c{n}", target, target, n),
                delete(f"u{n - 3}", LIKE, f"l{n - 3}", n),
            ][(0, 1, 2, 3, 4)[n % 10 if n % 10 < 4 else 4 if n % 10 == 4 else 1]]
        )
    return made if version == "v1" else [as_v2(frame, seq) for seq, frame in enumerate(made, 1)]


def wanted_ids(frames: Sequence[Any]) -> set[tuple[str, str, str]]:
    """The events of `some_frames`, in plain Python; frames of v1."""
    found = set()
    for frame in frames:
        made = frame["commit"]
        at = f"at://{frame['did']}/{made['collection']}/{made['rkey']}"
        record = made.get("record", {})
        if made["operation"] == "delete":
            found.add(("like", uri("ana", POST, f"p{int(made['rkey'][1:]) // 10}"), at + "#undo"))
        elif "reply" in record:
            found.add(("comment", record["reply"]["root"]["uri"], at))
        elif "subject" in record:
            found.add(("like" if made["collection"] == LIKE else "share", record["subject"]["uri"], at))
        else:
            found.add(("post", at, at))
    assert len(found) == len(frames)
    return found


@VERSIONS
def test_every_frame_counts_over_cuts_drops_disorder_and_repetition(version: str, tmp_path: Path) -> None:
    plain = some_frames(200)
    frames = some_frames(200, version)
    # Three frames change places with one some seconds earlier: within what a reconnection goes back.
    untidy, chance = list(frames), random.Random(5)
    if version == "v1":
        for place in chance.sample(range(10, 190, 8), 12):
            untidy[place], untidy[place - 3] = untidy[place - 3], untidy[place]
    untidy += chance.sample(frames, 20)
    sessions = [Unkindness(cut_after=57), Unkindness(cut_after=0), Unkindness(cut_after=80, left_out=frozenset({78}))]
    run = Run(tmp_path)
    with JetstreamServer(untidy, Host(version, sessions)) as server:
        summary = run.until_idle(server.url)
    assert set(run.ids) == wanted_ids(plain)
    assert summary.notes["reconnects"] == 3
    assert run.letters == []
    assert server.cursors[0] is None
    if version == "v2":
        assert server.cursors[1:3] == [52, 52], "five events before the last"
    else:
        assert server.cursors[1] is not None
        assert START + 50_000_000 <= server.cursors[1] <= START + 57_000_000 - 5_000_000


@VERSIONS
def test_a_restart_goes_on_behind_the_last_ack(version: str, tmp_path: Path) -> None:
    plain, run = some_frames(120), Run(tmp_path)
    frames = some_frames(120, version)
    with JetstreamServer(frames[:70], Host(version)) as server:
        run.until_idle(server.url)
        first = run.position
        server.frames = frames
        run.until_idle(server.url)
        assert first is not None
        assert server.cursors == [None, first.cursor - (5_000_000 if version == "v1" else 5)]
    assert set(run.ids) == wanted_ids(plain)
    assert sum(run.ids.values()) == len(plain) + 6
    last = run.position
    assert last is not None
    assert (last.version, last.host) == (version, server.url)
    assert last.cursor == (START + 119_000_000 if version == "v1" else 120)


def test_a_position_never_goes_back(tmp_path: Path) -> None:
    run, frames = Run(tmp_path), some_frames(60)
    with JetstreamServer([*frames, *frames[:5]], Host("v1")) as server:
        run.until_idle(server.url)
    position = run.position
    assert position is not None
    assert position.time_us == START + 59_000_000


def test_a_frame_from_the_future_moves_no_position(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ahead = like("cem", "ahead", uri("ana", POST, "p0")) | {"time_us": (time.time_ns() // 1000) + 10**10}
    run = Run(tmp_path)
    with JetstreamServer([*some_frames(5), ahead], Host("v1")) as server:
        run.until_idle(server.url)
    position = run.position
    assert position is not None
    assert position.time_us == START + 4_000_000
    assert "ahead of this machine's clock; set the clock" in caplog.text
    assert len(run.ids) == 6


def test_another_host_is_given_a_time_and_its_own_seq_only_to_its_host(tmp_path: Path) -> None:
    frames = some_frames(90)
    here = [as_v2(frame, 1000 + n) for n, frame in enumerate(frames)]
    there = [as_v2(frame, 5 + n) for n, frame in enumerate(frames)]
    run = Run(tmp_path)
    with (
        JetstreamServer(here, Host("v2", [Unkindness(cut_after=40)])) as one,
        JetstreamServer(there, Host("v2")) as other,
        JetstreamServer(frames, Host("v1")) as old,
    ):
        run.until_idle(one.url, other.url)
        assert one.cursors == [None]
        assert other.cursors == [START + 39_000_000 - 5_000_000]
        run.until_idle(one.url)
        assert one.cursors[1] == START + 89_000_000 - 5_000_000, "the seq that is stored is of the other host"
        run.until_idle(old.url)
        assert old.cursors == [START + 89_000_000 - 5_000_000]
    assert set(run.ids) == wanted_ids(frames)


def test_a_host_that_counts_anew_is_followed(tmp_path: Path) -> None:
    run, frames = Run(tmp_path), some_frames(200)
    with JetstreamServer([as_v2(frame, 900 + n) for n, frame in enumerate(frames[:20])], Host("v2")) as server:
        run.until_idle(server.url)
        server.frames = [as_v2(frame, 1 + n) for n, frame in enumerate(frames[100:])]
        server.host.floor = 0
        # Its numbers are all below the cursor: a real host then begins with what happens next.
        server._wanted = lambda query: iter(server.frames)  # type: ignore[method-assign]
        run.until_idle(server.url)
    position = run.position
    assert position is not None
    assert position.cursor == 100


def test_a_cursor_that_is_too_old_is_a_gap_and_the_stream_goes_on_from_the_floor(tmp_path: Path) -> None:
    frames, run = some_frames(100, "v2"), Run(tmp_path)
    with JetstreamServer(frames[:20], Host("v2")) as server:
        run.until_idle(server.url)
        server.frames, server.host.floor = frames, 60
        summary = run.until_idle(server.url)
        assert server.cursors == [None, 15, 60]
    assert summary.notes["cursor_gaps"] == 1
    position = run.position
    assert position is not None
    assert position.cursor == 100


def test_a_floor_within_the_overlap_is_no_gap(tmp_path: Path) -> None:
    frames, run = some_frames(100), Run(tmp_path)
    with JetstreamServer(some_frames(100, "v2")[:20], Host("v2")) as server:
        run.until_idle(server.url)
        server.frames, server.host.floor = some_frames(100, "v2"), 18
        summary = run.until_idle(server.url)
        assert server.cursors == [None, 15, 18]
    assert "cursor_gaps" not in summary.notes
    assert set(run.ids) == wanted_ids(frames)


def test_a_clamped_time_is_a_gap_too(tmp_path: Path) -> None:
    frames, run = some_frames(40), Run(tmp_path)
    with JetstreamServer(frames[:10], Host("v1")) as old:
        run.until_idle(old.url)
    with JetstreamServer(some_frames(40, "v2"), Host("v2", floor_us=START + 30_000_000)) as server:
        summary = run.until_idle(server.url)
    assert summary.notes["cursor_gaps"] == 1
    assert set(run.ids) == wanted_ids(frames)


def test_a_slow_consumer_connects_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with JetstreamServer(some_frames(50, "v2"), Host("v2", [Unkindness(slow_after=25)])) as server:
        summary = run.until_idle(server.url)
        assert server.cursors == [None, 20]
    assert set(run.ids) == wanted_ids(some_frames(50))
    assert summary.notes["reconnects"] == 1


def dictionary_of(frames: Sequence[Any], seed: int = 0) -> zstandard.ZstdCompressionDict:
    samples = [json.dumps(frame).encode() for frame in frames] * 20
    return zstandard.train_dictionary(4096, samples, dict_id=40_000 + seed)


def test_v2_frames_come_compressed_with_the_dictionary_of_the_host(tmp_path: Path) -> None:
    frames, run, compression = some_frames(100, "v2"), Run(tmp_path), Compression()
    with JetstreamServer(frames[:50], Host("v2", dictionary=dictionary_of(frames))) as server:
        run.until_idle(server.url, compression=compression)
        # The host has trained another one meanwhile: it refuses the old id, and its new one is fetched.
        server.frames, server.host.dictionary = frames, dictionary_of(frames, 1)
        run.until_idle(server.url, compression=compression)
        asked = [request.get("zstdDictionary") for request in server.requests]
    assert asked == [["40000"], ["40000"], ["40001"]]
    assert set(run.ids) == wanted_ids(some_frames(100))


def test_a_host_without_a_dictionary_sends_plain_frames(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with JetstreamServer(some_frames(30, "v2"), Host("v2")) as server:
        run.until_idle(server.url, compression=Compression())
        assert "zstdDictionary" not in server.requests[0]
    assert set(run.ids) == wanted_ids(some_frames(30))


def test_a_host_that_refuses_its_own_dictionary_is_asked_for_plain_frames(tmp_path: Path) -> None:
    refusal = Unkindness(refuse=(400, '{"error": "UnknownZstdDictionary", "message": "current dictionary id is 7"}'))
    frames, run = some_frames(30, "v2"), Run(tmp_path)
    with JetstreamServer(frames, Host("v2", [refusal, refusal], dictionary=dictionary_of(frames))) as server:
        run.until_idle(server.url, compression=Compression())
        assert ["zstdDictionary" in request for request in server.requests] == [True, True, False]
    assert set(run.ids) == wanted_ids(some_frames(30))


def test_a_host_that_refuses_a_dictionary_nobody_asked_for_is_no_endless_loop(tmp_path: Path) -> None:
    refusal = Unkindness(refuse=(400, '{"error": "UnknownZstdDictionary", "message": "current dictionary id is 7"}'))
    with (
        JetstreamServer([], Host("v2", [refusal] * 99)) as server,
        pytest.raises(Refused, match="HTTP 400 UnknownZstdDictionary"),
    ):
        Run(tmp_path).until_idle(server.url)
    assert len(server.requests) == 3


def test_v1_frames_come_compressed_where_the_dictionary_is_at_hand(tmp_path: Path) -> None:
    frames, run = some_frames(60), Run(tmp_path)
    dictionary = dictionary_of(frames)
    (tmp_path / "zstd").write_bytes(dictionary.as_bytes())
    with JetstreamServer(frames, Host("v1", dictionary=dictionary)) as server:
        run.until_idle(server.url, compression=Compression(v1_dictionary=tmp_path / "zstd"))
        assert server.requests[0]["compress"] == ["true"]
    assert set(run.ids) == wanted_ids(frames)


def test_a_file_that_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zstd").write_bytes(b"something else")
    for name, flaw in (("zstd", "not a zstd dictionary"), ("none", "cannot be read")):
        with pytest.raises(SettingsError, match=flaw):
            Compression(v1_dictionary=tmp_path / name)


def test_a_frame_that_cannot_be_unpacked_is_a_dead_letter(tmp_path: Path) -> None:
    frames = some_frames(30)
    compression = Compression()
    packed = zstandard.ZstdCompressor().compress(b"x" * 100)
    for broken in (packed[:-4], packed[:6], zstandard.ZstdCompressor().compress(b"\0" * 50_000_000)):
        with pytest.raises(ValueError, match="zstd"):
            compression.decode(broken)
    run = Run(tmp_path)
    with JetstreamServer([frames[0], "{", *frames[1:]], Host("v1", dictionary=dictionary_of(frames))) as server:
        run.until_idle(server.url)
    assert set(run.ids) == wanted_ids(frames)


@VERSIONS
def test_a_frame_that_is_none_is_kept_with_its_reason(version: str, tmp_path: Path) -> None:
    flawed = some_frames(11, version)[-1]
    commit = flawed["commit"] if version == "v1" else flawed["payload"]
    del commit["rkey"]
    run = Run(tmp_path)
    with JetstreamServer([*some_frames(10, version), "<html>", flawed], Host(version)) as server:
        summary = run.until_idle(server.url)
        run.until_idle(server.url)
        again = server.cursors[1]
    assert summary.bad == 2
    [(first, said), (second, more)] = run.letters[:2]
    assert first == b"<html>"
    assert json.loads(second or b"") == flawed
    assert said["source"] == said["topic"] == server.url
    assert abs(int(said["received-at-ms"]) / 1000 - time.time()) < 60
    assert "not JSON" in said["reason"]
    assert more["field"] == "commit.rkey"
    assert more["reason"].startswith("commit.rkey: missing")
    assert len(run.complaints) >= 2
    assert server.url in run.complaints[0]
    assert again == (START + 10_000_000 - 5_000_000 if version == "v1" else 11 - 5), "it does not come for ever"


def test_a_record_above_the_limit_is_a_dead_letter_of_its_first_bytes(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.producer = FakeRecordProducer(record_bytes=1024)
    large = post("ana", "large", 2, tags=[f"tag-of-some-length-{n}" for n in range(64)])
    with JetstreamServer([*some_frames(2), large, *some_frames(4)[3:]], Host("v1")) as server:
        summary = run.until_idle(server.url)
    assert (summary.sent.total(), summary.bad) == (3, 1)
    [(value, headers)] = run.letters
    assert value is not None
    assert value.startswith(b'{"event_id":"at://did:plc:ana/app.bsky.feed.post/large"')
    assert len(value) == 1000
    assert int(headers["cut-from"]) > 1024


def test_the_fuse_blows_where_nearly_all_is_dead(tmp_path: Path) -> None:
    policy = BlueskyPolicy(until_idle=IDLE, fuse=FusePolicy(records=200, share=0.95))
    run = Run(tmp_path)
    with JetstreamServer(["<html>"] * 400, Host("v1")) as server, pytest.raises(FuseBlown, match="is --host a"):
        run.until_idle(server.url, policy=policy)
    assert len(run.letters) == 199, "those before the last one of the fuse"


@VERSIONS
def test_the_host_is_asked_for_collections_and_actors(version: str, tmp_path: Path) -> None:
    run = Run(tmp_path)
    wanted = Wanted((LIKE,), (did("u1"), did("u5")))
    with JetstreamServer(some_frames(20, version), Host(version)) as server:
        run.until_idle(server.url + "?key=secret", wanted=wanted)
        request = server.requests[0]
    assert {kind for kind, *_ in run.ids} == {"like"}
    assert {event.split("/")[2] for _, _, event in run.ids} == {did("u1"), did("u5")}
    names = ("wantedCollections", "wantedDids") if version == "v1" else ("collections", "dids")
    assert (request[names[0]], request[names[1]]) == ([LIKE], [did("u1"), did("u5")])
    assert request["key"] == ["secret"]
    assert request.get("kinds") == (None if version == "v1" else ["commit", "account"])
    assert int(request["maxMessageSizeBytes"][0]) > 1_000_000


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_host_that_answers_no_at_first_is_an_error(status: int, tmp_path: Path) -> None:
    refusal = Unkindness(refuse=(status, "nothing is here"))
    with (
        JetstreamServer([], Host("v1", [refusal] * 9)) as server,
        pytest.raises(Refused, match=f"{server.url}: HTTP {status} nothing is here; is --host right"),
    ):
        Run(tmp_path).until_idle(server.url)


def test_a_host_that_is_overloaded_is_asked_again(tmp_path: Path) -> None:
    refusals = [Unkindness(refuse=(status, "later")) for status in (503, 429, 500)]
    run = Run(tmp_path)
    with JetstreamServer(some_frames(10), Host("v1", refusals)) as server:
        run.until_idle(server.url)
    assert len(run.ids) == 10


def test_a_host_that_is_away_gives_way_to_the_next(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with JetstreamServer(some_frames(10), Host("v1")) as server:
        summary = run.until_idle(f"ws://127.0.0.1:{find_free_port(())}/subscribe", server.url)
    assert len(run.ids) == 10
    assert summary.notes["reconnects"] == 1


def test_no_host_at_all_is_an_error_of_a_run_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bluesky_source, "UNREACHED_SECONDS", 0.6)
    url = f"ws://127.0.0.1:{find_free_port(())}/subscribe"
    with pytest.raises(Unavailable, match="no host of Bluesky was reached for"):
        Run(tmp_path).until_idle(url)


def test_a_host_that_hangs_is_left(tmp_path: Path) -> None:
    """A connection over which nothing comes, not even an answer to a ping."""
    frames, run = some_frames(40), Run(tmp_path)
    hung = threading.Event()

    class Hanging(JetstreamServer):
        def _session(self, connection: Any) -> None:
            if not hung.is_set():
                for frame in frames[:20]:
                    connection.send(json.dumps(frame))
                hung.set()
                connection.recv_events_thread  # noqa: B018  # it is there in this version, and must not answer pings
                connection.protocol.receive_data = lambda data: None
                time.sleep(3)
                return
            super()._session(connection)

    with Hanging(frames, Host("v1")) as server:
        run.until_idle(
            server.url,
            connection=ConnectionPolicy(pause=0.02, ping=0.3, tick=0.05),
            policy=BlueskyPolicy(until_idle=2.0),
        )
        assert len(server.requests) >= 2
    assert set(run.ids) == wanted_ids(frames)


def test_a_host_that_ends_each_stream_is_idle_too(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with JetstreamServer(some_frames(10), Host("v1", stays=False)) as server:
        run.until_idle(server.url)
        assert len(server.requests) >= 3
    assert len(run.ids) == 10


def test_what_happens_between_two_connections_is_not_lost_before_the_first_event(tmp_path: Path) -> None:
    before, run = time.time_ns() // 1000, Run(tmp_path)
    with JetstreamServer([], Host("v1", [Unkindness(cut_after=0)], stays=False)) as server:
        run.until_idle(server.url)
        assert server.cursors[0] is None
        assert all(before - 6_000_000 < (cursor or 0) < before + 5_000_000 for cursor in server.cursors[1:])


@VERSIONS
def test_a_kill_between_any_two_saves_loses_nothing(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends at a random record, without a last save; what it had not saved comes again."""
    frames, plain = some_frames(150, version), some_frames(150)
    monkeypatch.setattr(sending, "SAVE_SECONDS", 0.01)
    run, chance, kills = Run(tmp_path), random.Random(9), 0

    class Killed(Exception):
        pass

    class Dying(KafkaDestination):
        left = 0

        def add(self, record: Any) -> None:
            self.left -= 1
            if self.left < 0:
                raise Killed
            super().add(record)

    with JetstreamServer(frames, Host(version, frames_a_second=2000)) as server:
        for _ in range(6):
            stream = JetstreamConnection(
                (parse_endpoint(server.url),), Wanted(tuple(EVENT_COLLECTIONS.values())), policy=QUICK
            )
            source = BlueskySource(stream, lambda: RecordStore(run.path), BlueskyPolicy(until_idle=IDLE))
            destination = Dying(run.producer, TOPICS, 4)
            destination.left = chance.randrange(5, 60)
            try:
                send_all(source, destination)
            except Killed:
                kills += 1
            source.close()
        run.until_idle(server.url)
    assert kills >= 2
    assert set(run.ids) == wanted_ids(plain)


def in_plain_python(frames: Sequence[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """The events of recorded frames: formats in their own words, without the code under test."""
    found: Counter[tuple[str, str, str]] = Counter()
    for frame in frames:
        made = frame.get("commit") or {}
        if made.get("operation") != "create":
            continue
        record, at = made["record"], f"at://{frame['did']}/{made['collection']}/{made['rkey']}"
        if made["collection"] == "app.bsky.feed.like":
            if "/app.bsky.feed.post/" in record["subject"]["uri"]:
                found["like", record["subject"]["uri"], at] += 1
        elif made["collection"] == "app.bsky.feed.repost":
            found["share", record["subject"]["uri"], at] += 1
        elif made["collection"] == "app.bsky.feed.post":
            if "reply" in record:
                found["comment", record["reply"]["root"]["uri"], at] += 1
            else:
                found["post", at, at] += 1
            embed = record.get("embed") or {}
            quoted = embed.get("record", {}).get("uri") or embed.get("record", {}).get("record", {}).get("uri")
            if quoted:
                found["share", quoted, at] += 1
    return found


@VERSIONS
@pytest.mark.parametrize("is_compressed", [False, True])
def test_recorded_frames_give_their_events(version: str, is_compressed: bool, data: Path, tmp_path: Path) -> None:
    lines = (data / "jetstream/v1_frames.jsonl").read_text().splitlines()
    lines += (data / "jetstream/v1_golden.jsonl").read_text().splitlines()
    recorded = sorted((json.loads(line) for line in lines), key=lambda frame: frame["time_us"])
    frames = recorded if version == "v1" else [as_v2(frame, seq) for seq, frame in enumerate(recorded, 1)]
    dictionary = dictionary_of(frames) if is_compressed else None
    run, everything = Run(tmp_path), Wanted(())
    path = tmp_path / "zstd"
    if dictionary:
        path.write_bytes(dictionary.as_bytes())
    compression = Compression(is_compressed, path if is_compressed else None)
    with JetstreamServer(frames, Host(version, [Unkindness(cut_after=90)], dictionary=dictionary)) as server:
        summary = run.until_idle(server.url, wanted=everything, compression=compression)
        assert ("compress" in server.requests[0] or "zstdDictionary" in server.requests[0]) == is_compressed
    truth = in_plain_python(recorded)
    kinds = Counter(kind for kind, *_ in truth)
    assert set(run.ids) == set(truth)
    assert kinds == {"like": 106, "share": 16, "comment": 9, "post": 9}
    assert sum(frame.get("commit", {}).get("collection") == LIKE for frame in recorded) == 106
    assert summary.bad == 0
    assert summary.notes["unresolved_deletes"] >= 1
    sent = [json.loads(value or b"") for *_, value, _ in run.producer.sent]
    with_parent = {event["event_id"] for event in sent if event["kind"] == "share" and "parent_id" in event}
    assert with_parent == {
        f"at://{frame['did']}/app.bsky.feed.repost/{frame['commit']['rkey']}"
        for frame in recorded
        if frame.get("commit", {}).get("collection") == "app.bsky.feed.repost" and "via" in frame["commit"]["record"]
    }
    tags = {tag for event in sent for tag in event.get("hashtags", [])}
    assert tags == {"HowToTellAiToShutUp", "IndieRebellion", "talesatwonderworld", "balanwonderworldoc"}
    seen = {f"at://{f['did']}/{f['commit']['collection']}/{f['commit']['rkey']}": f for f in recorded if "commit" in f}
    for event in sent:
        frame = seen[event["event_id"]]
        claimed = datetime.fromisoformat(frame["commit"]["record"]["createdAt"])
        seen_at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=frame["time_us"])
        assert datetime.fromisoformat(event["occurred_at"]) == min(claimed, seen_at)
    assert sum(event["occurred_at"][:22] > "2026-07-04T14:38:08.08" for event in sent) > 10, "some are bounded"


def test_a_deleted_account_is_taken_back_over_the_network(tmp_path: Path) -> None:
    target, run = uri("ana", POST, "p0"), Run(tmp_path)
    frames = [like("cem", f"l{n}", target, n) for n in range(30)]
    with JetstreamServer([*frames, account("cem", "deleted", 31)], Host("v1")) as server:
        summary = run.until_idle(server.url)
    assert set(run.ids) == {
        ("like", target, uri("cem", LIKE, f"l{n}") + end) for n in range(30) for end in ("", "#undo")
    }
    assert summary.notes["deleted_accounts"] == 1


def test_a_stopped_source_ends_soon_and_keeps_its_position(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with JetstreamServer(some_frames(30), Host("v1")) as server:
        stream = JetstreamConnection((parse_endpoint(server.url),), Wanted(()), policy=QUICK)
        source = BlueskySource(stream, lambda: RecordStore(run.path))
        threading.Timer(1.0, source.stop).start()
        started = time.monotonic()
        send_all(source, KafkaDestination(run.producer, TOPICS, 4))
        source.close()
        assert 0.9 < time.monotonic() - started < SOON
    position = run.position
    assert position is not None
    assert position.time_us == START + 29_000_000


WRONG_URLS: list[tuple[str, str]] = [
    ("http://a.example/subscribe", "no URL of a WebSocket"),
    ("wss://", "no URL of a WebSocket"),
    ("wss://a.example:0/subscribe", "no URL of a WebSocket"),
    ("wss://a.example", "names no protocol"),
    ("wss://a.example/other", "names no protocol"),
    ("wss://a.example/subscribe?cursor=3", "leave cursor out"),
]


@pytest.mark.parametrize(("url", "flaw"), WRONG_URLS)
def test_a_url_that_cannot_be_asked_names_the_cure(url: str, flaw: str) -> None:
    with pytest.raises(SettingsError, match=flaw):
        parse_endpoint(url)
