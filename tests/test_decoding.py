"""Whatever a record holds, decoding raises nothing: it is an event, or a dead letter that says where and why."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.engagement.decoding import DecodedEvents, DecodingPolicy, decode_events, misplaced_event
from processors.engagement.fold.columns import KIND_NUMBER
from processors.runtime.records import Run
from schemas.events import InvalidEvent, parse_event
from schemas.topics import KINDS
from tests.folding import like
from tests.truth import microseconds

RECEIVED_MS = microseconds("2026-03-01T10:00:40Z") // 1000
GOOD = like("good")
LONE = b'"\\ud800"'


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = RECEIVED_MS


def _value(**more: Any) -> bytes:
    """A like as JSON, with some fields replaced; `...` leaves one out, bytes are put in as they are."""
    fields = {**like("x"), **more}
    parts = [
        json.dumps(name).encode() + b": " + (value if isinstance(value, bytes) else json.dumps(value).encode())
        for name, value in fields.items()
        if value is not ...
    ]
    return b"{" + b", ".join(parts) + b"}"


def _decode(*values: bytes | None, key: bytes | None = b"p", kind: str = "like") -> DecodedEvents:
    """These values between two good ones."""
    good = Record(0, b"p", json.dumps(GOOD).encode())
    records = [good, *(Record(1 + number, key, value) for number, value in enumerate(values))]
    records.append(Record(1 + len(values), b"p", json.dumps(like("good too")).encode()))
    if kind != "like":
        return decode_events([Run(f"engagement.{kind}s", kind, 5, records[1:-1])], DecodingPolicy())
    return decode_events([Run("engagement.likes", "like", 5, records)], DecodingPolicy())


BAD: dict[str, tuple[bytes | None, str, str]] = {
    "tombstone": (None, "", "no value (a tombstone)"),
    "empty": (b"", "", "Invalid JSON: EOF"),
    "blank": (b"  \n", "", "Invalid JSON"),
    "not UTF-8": (b'{"event_id": "\xff\xfe"}', "", "not UTF-8, byte 0xff at 14"),
    "UTF-16": (_value().decode().encode("utf-16"), "", "Invalid JSON"),
    "BOM": (b"\xef\xbb\xbf" + _value(), "", "begins with a byte order mark"),
    "not JSON": (b"event_id=x", "", "Invalid JSON"),
    "cut off": (_value()[:-20], "", "Invalid JSON: EOF"),
    "two objects": (_value() + _value(), "", "Invalid JSON: trailing characters"),
    "a list": (b"[" + _value() + b"]", "", "Input should be an object"),
    "null": (b"null", "", "Input should be an object"),
    "a number": (b"5", "", "Input should be an object"),
    "NaN": (b"NaN", "", "Input should be an object"),
    "nothing in it": (b"{}", "kind", "Field required (and 3 more)"),
    "no kind": (_value(kind=...), "kind", "Field required"),
    "unknown kind": (_value(kind="dislike"), "kind", "Input should be 'post', 'like', 'share' or 'comment'"),
    "kind of another topic": (
        _value(kind="share"),
        "kind",
        "a share in the topic of likes, send it to engagement.shares",
    ),
    "unknown action": (_value(action="undo"), "action", "Input should be 'add' or 'retract'"),
    "no event_id": (_value(event_id=...), "event_id", "Field required: without it a repeated delivery"),
    "no post_id": (_value(post_id=...), "post_id", "Field required"),
    "no actor_id": (_value(actor_id=...), "actor_id", "Field required"),
    "no time": (_value(occurred_at=...), "occurred_at", "Field required"),
    "event_id null": (_value(event_id=None), "event_id", "Field required: without it a repeated delivery"),
    "event_id a number": (_value(event_id=5), "event_id", "Input should be a valid string"),
    "event_id empty": (_value(event_id=""), "event_id", "Field required: without it a repeated delivery"),
    "labels that are no object": (_value(labels=["a"]), "labels", "should be an object"),
    "a label of a number": (_value(labels={"a": 1}), "labels.a", "valid string"),
    "a label with a strange key": (_value(labels={"a b": "x"}), "labels.a b.[key]", "match pattern"),
    "17 labels": (_value(labels={f"k{n}": "x" for n in range(17)}), "labels", "at most 16"),
    "a label of 257 characters": (_value(labels={"a": "x" * 257}), "labels.a", "at most 256"),
    "a label with NUL": (_value(labels={"a": "x\0"}), "labels", "NUL"),
    "a text with NUL": (_value(text="x\0"), "text", "NUL"),
    "actor_id empty": (_value(actor_id=""), "actor_id", "at least 1 character"),
    "retraction of an empty target": (_value(action="retract", target_id=""), "target_id", "must name the event_id"),
    "huge id": (_value(event_id="x" * 513), "event_id", "at most 512 characters"),
    "id of 900 KB": (_value(actor_id="x" * 900_000), "actor_id", "at most 512 characters"),
    "NUL in event_id": (_value(event_id="a\0b"), "event_id", "NUL"),
    "NUL in actor_id": (_value(actor_id="\0"), "actor_id", "NUL"),
    "NUL in parent_id": (_value(parent_id="a\0"), "parent_id", "NUL"),
    "NUL in channel": (_value(channel="a\0"), "channel", "NUL"),
    "NUL in target_id": (_value(action="retract", target_id="a\0"), "target_id", "NUL"),
    "NUL in author_id": (_value(author_id="a\0"), "author_id", "NUL"),
    "NUL in url": (_value(url="http://a/\0"), "url", "NUL"),
    "NUL in links": (_value(links=["http://a/", "b\0"]), "links", "NUL"),
    "NUL in quotes": (_value(quotes="a\0"), "quotes", "NUL"),
    "a link that is no text": (_value(links=[7]), "links.0", "string"),
    "NUL in a hashtag": (_value(hashtags=["a", "b\0"]), "hashtags", "NUL"),
    "NUL in a mention": (_value(hashtags=["a"], mentions=["\0b"]), "mentions", "NUL"),
    "NUL byte": (b"\0" + _value(), "", "Invalid JSON"),
    "lone surrogate": (_value(actor_id=LONE), "", "Invalid JSON"),
    "retraction without target": (_value(action="retract"), "target_id", "must name the event_id that it takes back"),
    "add with a target": (_value(target_id="a"), "target_id", "only a retraction has a target"),
    "naive time": (
        _value(occurred_at="2026-03-01T10:00:00"),
        "occurred_at",
        "should have timezone info: end it with Z",
    ),
    "second 60 at noon": (_value(occurred_at="2026-03-01T10:00:60Z"), "occurred_at", "last minute of a day in UTC"),
    "second 60 elsewhere": (_value(occurred_at="2026-02-28T23:59:60+01:00"), "occurred_at", "last minute of a day"),
    "second 60 without a zone": (_value(occurred_at="2026-02-28T23:59:60"), "occurred_at", "last minute of a day"),
    "second 60 of 31 February": (_value(occurred_at="2026-02-31T23:59:60Z"), "occurred_at", "second 60"),
    "second 61": (
        _value(occurred_at="2026-02-28T23:59:61Z"),
        "occurred_at",
        "minutes and seconds go to 59; send a time such as 2026-01-01T12:00:00Z",
    ),
    "hour 24": (_value(occurred_at="2026-02-28T24:00:00Z"), "occurred_at", "send 00:00:00 of the next day"),
    "letters behind a time": (_value(occurred_at="2026-02-28T10:00:00 UTC"), "occurred_at", "send a time such as"),
    "date alone": (_value(occurred_at="2026-03-01"), "occurred_at", ""),
    "time as seconds": (_value(occurred_at=1_772_359_200), "occurred_at", "ISO 8601"),
    "time as a float": (_value(occurred_at=1e9), "occurred_at", "ISO 8601"),
    "digits as time": (_value(occurred_at="20260101"), "occurred_at", "ISO 8601"),
    "seconds as text": (_value(occurred_at="1772359200"), "occurred_at", "ISO 8601"),
    "no time at all": (_value(occurred_at="yesterday"), "occurred_at", "ISO 8601"),
    "31 February": (_value(occurred_at="2026-02-31T10:00:00Z"), "occurred_at", "valid datetime"),
    "year 0": (_value(occurred_at="0000-01-01T00:00:00Z"), "occurred_at", "valid datetime"),
    "year 1": (_value(occurred_at="0001-01-01T00:00:00+14:00"), "occurred_at", "before 1970"),
    "before 1970": (_value(occurred_at="1969-12-31T23:59:59.999999Z"), "occurred_at", "before 1970"),
    "year 9999": (_value(occurred_at="9999-12-31T23:59:59.999999-14:00"), "occurred_at", "mend the sender's clock"),
    "too far ahead": (_value(occurred_at="2026-03-01T10:10:40.000001Z"), "occurred_at", "more than 600 s ahead"),
    "followers beyond int64": (_value(followers=10**30), "followers", "less than 1099511627776"),
    "followers of 5,000 digits": (_value(followers=b"9" * 5000), "", "Invalid JSON: number out of range"),
    "followers below 0": (_value(followers=-1), "followers", "greater than or equal to 0"),
    "followers as text": (_value(followers="5"), "followers", "valid integer"),
    "followers true": (_value(followers=True), "followers", "valid integer"),
    "followers a float": (_value(followers=5.0), "followers", "valid integer"),
    "hashtags no list": (_value(hashtags="x"), "hashtags", "valid array"),
    "a hashtag a number": (_value(hashtags=["a", 5]), "hashtags.1", "valid string"),
    "too many mentions": (_value(mentions=["x"] * 257), "mentions", "at most 256 items"),
    "deep nesting": (_value(deep=b"[" * 100_000 + b"]" * 100_000), "", "Invalid JSON: recursion limit"),
    "deep nesting, unclosed": (b'{"a":' * 100_000, "", "Invalid JSON"),
    "another post than the key": (_value(post_id="q"), "post_id", "the record's key is not the post_id"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_dead_letter_and_the_good_beside_it_counts(name: str) -> None:
    value, field, reason = BAD[name]
    found = _decode(value)
    assert found.events.event_id == ["good", "good too"]
    (letter,) = found.dead
    assert (letter.topic, letter.partition, letter.offset) == ("engagement.likes", 5, 1)
    assert (letter.key, letter.value, letter.received_at_ms) == (b"p", value, RECEIVED_MS)
    assert letter.field == field
    assert reason in letter.reason
    assert 10 <= len(letter.reason) <= 300
    assert letter.reason.isprintable()


@pytest.mark.parametrize("key", [None, b"", b"q", b"p\0", b"\xff", b"P", b"p" * 1_000_000])
def test_a_key_that_is_not_the_post_id(key: bytes | None) -> None:
    found = _decode(_value(), key=key)
    assert found.events.event_id == ["good", "good too"]
    assert [(letter.field, letter.key) for letter in found.dead] == [("post_id", key)]


def test_nul_hides_no_wrong_key() -> None:
    records = [
        Record(0, b"a", _value(post_id="a\0b")),
        Record(1, b"b\0c", _value(post_id="c")),
        Record(2, b"d", _value(post_id="d", event_id="good")),
    ]
    found = decode_events([Run("engagement.likes", "like", 0, records)], DecodingPolicy())
    assert found.events.event_id == ["good"]
    assert [letter.offset for letter in found.dead] == [0, 1]


GOOD_VALUES = {
    "empty texts": _value(parent_id="", target_id="", channel="", url="", quotes="", author_id=""),
    "empty tags and links": _value(hashtags=["", "#", "\u200b", "a"], mentions=[""], links=["", "http://a/"]),
    "unknown fields": _value(future=[{"a": 1}], big=b"9" * 4000, x=b"1e999"),
    "nulls": _value(
        parent_id=None,
        target_id=None,
        channel=None,
        url=None,
        hashtags=None,
        mentions=None,
        followers=None,
        links=None,
        quotes=None,
    ),
    "longest id": _value(event_id="é" * 512),
    "emoji and right-to-left": _value(actor_id="👩‍👩‍👧 שלום", channel="ｂｌｕｅ"),
    "surrogate pair": _value(actor_id=b'"\\ud83d\\ude00"'),
    "long ago": _value(occurred_at="1970-01-01T00:00:00Z"),
    "just not too far ahead": _value(occurred_at="2026-03-01T10:10:40Z"),
    "NUL in a field that is not stored": _value(other="\0"),
    "a megabyte": _value(padding="x" * 1_000_000),
    "most followers": _value(followers=2**40 - 1),
    "a field twice": _value()[:-1] + b', "event_id": "x"}',
    "blanks around": b" \r\n" + _value() + b"\n",
}


@pytest.mark.parametrize("name", GOOD_VALUES)
def test_what_is_unusual_but_good(name: str) -> None:
    found = _decode(GOOD_VALUES[name])
    assert found.dead == []
    assert len(found.events) == 3


def test_columns() -> None:
    value = _value(
        kind="post",
        event_id="p",
        actor_id="ann",
        author_id="anna",
        channel="x",
        url="u",
        links=["l", "m"],
        quotes="q",
        hashtags=["#A", "a", "Ｂ"],
        mentions=["@C"],
        followers=0,
        occurred_at="2026-03-01T11:00:00.123456+02:00",
    )
    events = _decode(value, kind="post").events
    assert (events.topic, events.partition.tolist(), events.offset.tolist()) == (["engagement.posts"], [5], [1])
    assert events.received_ms.tolist() == [RECEIVED_MS]
    assert (events.kind.tolist(), events.action.tolist()) == ([KIND_NUMBER["post"]], [0])
    assert events.occurred_us.tolist() == [microseconds("2026-03-01T09:00:00.123456Z")]
    assert (events.event_id, events.post_id, events.actor_id, events.author_id) == (["p"], ["p"], ["ann"], ["anna"])
    assert (events.parent_id, events.target_id, events.channel, events.url) == ([""], [""], ["x"], ["u"])
    assert (events.links, events.quotes) == ([["l", "m"]], ["q"])
    assert (events.conversations, events.followers) == ([["hashtag:a", "hashtag:b", "mention:c"]], [0])


@pytest.mark.parametrize("absent", [..., None, ""])
def test_a_retraction_gets_an_id_of_its_own(absent: Any) -> None:
    events = _decode(_value(event_id=absent, action="retract", target_id="x")).events
    assert (events.event_id[1], events.target_id[1], events.action[1]) == ("x#undo", "x", 1)


@pytest.mark.parametrize("field", ["parent_id", "target_id", "channel", "url", "quotes", "author_id"])
def test_empty_text_null_and_no_field_are_the_same(field: str) -> None:
    absent = [_decode(_value(kind="post", **{field: value}), kind="post").events for value in (..., None, "")]
    assert [getattr(events, field) for events in absent] == [[""]] * 3


def test_an_empty_tag_or_link_is_left_out() -> None:
    events = _decode(GOOD_VALUES["empty tags and links"]).events
    assert events.conversations[1] == ["hashtag:a"]
    assert events.links[1] == ["http://a/"]


@pytest.mark.parametrize("channel", ["bluesky", "Bluesky ", " BLUESKY", "Ｂluesky", "blue\u00adsky\ufe0f"])
def test_channels_are_folded(channel: str) -> None:
    assert _decode(_value(channel=channel)).events.channel[1] == "bluesky"


@pytest.mark.parametrize(
    "text",
    [
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:60.5Z",
        "2016-12-31t23:59:60z",
        "2016-12-31 23:59:60+00:00",
        "2017-01-01T00:59:60+01:00",
        "2016-12-31T15:59:60.999999-08:00",
    ],
)
def test_a_leap_second_is_the_last_microsecond_of_its_day(text: str) -> None:
    found = _decode(_value(occurred_at=text, hashtags=["a"], other="2016-12-31T23:59:60Z"))
    assert found.dead == []
    assert found.events.occurred_us[1] == microseconds("2016-12-31T23:59:59.999999Z")
    assert found.events.conversations[1] == ["hashtag:a"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_in_its_topic_only(kind: str) -> None:
    records = [Record(number, b"p", _value(kind=other)) for number, other in enumerate(KINDS)]
    found = decode_events([Run(f"engagement.{kind}s", kind, 0, records)], DecodingPolicy())
    assert found.events.kind.tolist() == [KIND_NUMBER[kind]]
    assert sorted(letter.reason for letter in found.dead) == sorted(
        f"a {other} in the topic of {kind}s, send it to engagement.{other}s" for other in KINDS if other != kind
    )


def test_a_misplaced_event_names_the_cure() -> None:
    found = _decode()
    letter = misplaced_event(found.runs[0], found.records[0], belongs=2, of=12)
    assert (letter.field, letter.offset) == ("post_id", 0)
    assert "belongs on 2 of 12" in letter.reason
    assert "murmur2" in letter.reason


def test_nothing_is_no_event() -> None:
    assert len(decode_events([], DecodingPolicy()).events) == 0
    assert len(decode_events([Run("engagement.likes", "like", 0, [])], DecodingPolicy()).events) == 0
    assert (
        len(decode_events([Run("engagement.likes", "like", 0, [Record(0, b"p", b"x")])], DecodingPolicy()).events) == 0
    )


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1970, 1, 2), datetime(2106, 1, 1), timezones=zones)  # noqa: DTZ001


@settings(max_examples=100, deadline=None)
@given(st.lists(moments, min_size=1, max_size=20))
def test_times_are_exact_to_the_microsecond(times: list[datetime]) -> None:
    records = [
        Record(number, b"p", _value(event_id=str(number), occurred_at=time.isoformat()), 1 << 50)
        for number, time in enumerate(times)
    ]
    found = decode_events([Run("engagement.likes", "like", 0, records)], DecodingPolicy())
    assert found.dead == []
    expected = [(time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for time in times]
    assert found.events.occurred_us.tolist() == expected


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
nested = st.lists(leaves, max_size=4) | st.dictionaries(st.text(max_size=10), leaves, max_size=4)
json_values = leaves | nested | st.lists(nested, max_size=3) | st.dictionaries(st.text(max_size=10), nested, max_size=3)
mutants = st.builds(
    lambda field, value: json.dumps({**like("x"), field: value}).encode("utf-8", "surrogatepass"),
    st.sampled_from(
        [*like("x"), "action", "target_id", "parent_id", "channel", "hashtags", "mentions", "followers", "url"]
    ),
    json_values,
)


def _damage(value: bytes, place: int, piece: bytes) -> bytes:
    return value[: place % len(value)] + piece + value[place % len(value) + 1 :]


damaged = st.builds(_damage, mutants | st.just(_value()), st.integers(0, 500), st.binary(max_size=3))
anything = st.none() | st.binary(max_size=60) | json_values.map(json.dumps).map(str.encode) | mutants | damaged
keys = st.sampled_from([b"p", b"p", b"p", None, b"", b"\xff\0"]) | st.binary(max_size=4)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(keys, anything), max_size=6))
def test_anything_at_all(junk: list[tuple[bytes | None, bytes | None]]) -> None:
    records = []
    for number, (key, value) in enumerate(junk):
        records += [Record(2 * number, b"p", _value(event_id=f"good-{number}")), Record(2 * number + 1, key, value)]
    found = decode_events([Run("engagement.likes", "like", 0, records)], DecodingPolicy())
    events = found.events
    assert [name for name in events.event_id if name.startswith("good-")] == [f"good-{n}" for n in range(len(junk))]
    assert len(events) + len(found.dead) == len(records)
    assert sorted([*events.offset.tolist(), *(letter.offset for letter in found.dead)]) == list(range(len(records)))
    assert [record.offset for record in found.records] == events.offset.tolist() == sorted(events.offset.tolist())
    assert all(letter.reason for letter in found.dead)
    assert all(len(getattr(events, name)) == len(events) for name in vars(events))
    assert all(events.event_id)
    assert all(events.post_id)
    for text in (*events.event_id, *events.actor_id, *events.post_id):
        assert len(text.encode()) <= 2048
    assert events.occurred_us.dtype == np.int64


@pytest.mark.parametrize("kind", ["like", "share"])
def test_likes_and_shares_may_lack_an_actor(kind: str) -> None:
    found = _decode(_value(kind=kind, actor_id=None), kind=kind)
    assert "" in found.events.actor_id
    assert found.dead == []


@pytest.mark.parametrize("kind", ["post", "comment"])
def test_posts_and_comments_have_an_actor(kind: str) -> None:
    found = _decode(_value(kind=kind, actor_id=None), kind=kind)
    assert [(letter.field, letter.reason[:5]) for letter in found.dead] == [("actor_id", "null:")]


def test_labels_are_flat_and_texts_are_kept_only_where_asked_for() -> None:
    value = _value(labels={"Campaign": "spring", "a": ""}, text="Hello there")
    for length, kept in ((0, ""), (5, "Hello"), (100, "Hello there")):
        runs = [Run("engagement.likes", "like", 5, [Record(0, b"p", value)])]
        events = decode_events(runs, DecodingPolicy(text_length=length)).events
        assert (events.labels, events.text) == ([["campaign", "spring"]], [kept])


@pytest.mark.parametrize(
    ("field", "absent"),
    [
        ("action", ""),
        ("action", None),
        ("hashtags", ""),
        ("hashtags", [None, ""]),
        ("mentions", ""),
        ("links", [None]),
        ("labels", ""),
        ("labels", {"": "x", "b": None}),
        ("followers", ""),
    ],
)
def test_absence_in_each_spelling_costs_no_event(field: str, absent: Any) -> None:
    leap = "2016-12-31T23:59:60Z"
    found = _decode(_value(kind="post", **{field: absent}, occurred_at=leap), kind="post")
    plain = _decode(_value(kind="post", occurred_at=leap), kind="post").events
    assert found.dead == []
    for name in ("action", "conversations", "links", "labels", "followers", "occurred_us"):
        assert list(getattr(found.events, name)) == list(getattr(plain, name))


def test_what_is_absent_in_a_list_leaves_the_others() -> None:
    events = _decode(_value(kind="post", hashtags=[None, "a", ""], labels={"": "x", "k": "v"}), kind="post").events
    assert (events.conversations, events.labels) == ([["hashtag:a"]], [["k", "v"]])


@pytest.mark.parametrize("text", ["2026-01-01T00:00:61Z", "2026-01-01T00:60:00Z", "2016-12-31T23:59:99.5+01:00"])
def test_minutes_and_seconds_past_59_are_told(text: str) -> None:
    with pytest.raises(InvalidEvent, match="occurred_at: minutes and seconds go to 59; send a time such as"):
        parse_event(_value(occurred_at=text))
