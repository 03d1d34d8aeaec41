"""Pseudonyms: the truth is HMAC of the standard library, and counts over the events that went in."""

import hmac
import json
import pickle
from base64 import b32encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.brands import load_brands
from pipeline.dead_letters.letter import DeadLetter
from pipeline.dead_letters.reader import plan_retry, retry
from pipeline.errors import Refused, SettingsError
from pipeline.privacy.pseudonyms import WITHHELD_HEADER, Pseudonyms, load_pseudonyms
from pipeline.settings import Settings, load_settings
from producers.destinations import KafkaDestination
from producers.sending import send_all
from producers.simulation.policy import SimulationPolicy
from producers.source import BadInput
from producers.sources.replay import ReplaySource
from producers.sources.simulate import SimulationSource
from schemas.events import conversation_keys, parse_event
from schemas.topics import Topics
from tests.fakes_collector import FakeCollector
from tests.fakes_kafka import FakeRecordProducer

KEY = "0123456789abcdef0123456789abcdef"
BRANDS = "Acme: {side: own, accounts: ['did:plc:acme', '@acme@example.social'], mentions: [acme_support]}"
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"


def expected(account: str) -> str:
    digest = hmac.new(KEY.encode(), b"engagement/account\0" + account.encode(), "sha256").digest()
    return "p-" + b32encode(digest[:16]).decode().lower().rstrip("=")


@pytest.fixture
def pseudonyms(tmp_path: Path) -> Pseudonyms:
    path = tmp_path / "brands.yaml"
    path.write_text(BRANDS)
    return Pseudonyms(KEY, load_brands(path))


def test_an_account_becomes_a_keyed_hash_that_stays_the_same(pseudonyms: Pseudonyms) -> None:
    assert pseudonyms.of_account("ann") == expected("ann") == Pseudonyms(KEY).of_account("ann")
    assert pseudonyms.of_account("ann") != Pseudonyms(KEY[::-1]).of_account("ann")
    assert pseudonyms.of_account("ann") != pseudonyms.of_account("Ann")
    assert pseudonyms.of_account(expected("ann")) == expected("ann")  # a second replay changes nothing
    assert pseudonyms.of_mention("@Ann") == pseudonyms.of_mention("ann") == pseudonyms.of_account("@ann")


def test_accounts_of_brands_stay(pseudonyms: Pseudonyms) -> None:
    for account in ("did:plc:acme", "@acme@example.social"):
        assert pseudonyms.of_account(account) == account
    assert pseudonyms.of_mention("Acme_Support") == "Acme_Support"
    assert pseudonyms.of_mention("did:plc:acme") == "did:plc:acme"
    assert pseudonyms.in_id("at://did:plc:acme/app.bsky.feed.post/1") == "at://did:plc:acme/app.bsky.feed.post/1"


@pytest.mark.parametrize(
    ("value", "account"),
    [
        (f"at://{DID}/app.bsky.feed.post/3l", DID),
        (f"https://bsky.app/profile/{DID}/post/3l", DID),
        (f"{DID}#undo", DID),
        ("https://example.social/users/ann/statuses/1", "ann"),
        ("https://example.social/@ann/1", "ann"),
        ("https://example.social/@ann@other.example?x=1", "ann@other.example"),
    ],
)
def test_accounts_inside_of_ids_and_addresses_are_replaced(pseudonyms: Pseudonyms, value: str, account: str) -> None:
    assert pseudonyms.in_id(value) == value.replace(account, expected(account))


@pytest.mark.parametrize("value", ["post-17", "https://example.com/page?a=@", "https://example.com/users", "a@b"])
def test_other_ids_stay(pseudonyms: Pseudonyms, value: str) -> None:
    assert pseudonyms.in_id(value) == value


def test_mentions_in_texts_are_replaced(pseudonyms: Pseudonyms) -> None:
    said = pseudonyms.in_text(f"Thanks @Ann, @acme_support and @bob@example.social! (ann@mail.example) {DID}.")
    bob = expected("bob@example.social")
    assert said == f"Thanks @{expected('ann')}, @acme_support and @{bob}! (ann@mail.example) {expected(DID)}."


def test_a_record_says_nothing_of_its_people(pseudonyms: Pseudonyms) -> None:
    event = {
        "event_id": f"at://{DID}/app.bsky.feed.post/1",
        "kind": "post",
        "post_id": f"at://{DID}/app.bsky.feed.post/1",
        "actor_id": "bot",
        "author_id": DID,
        "occurred_at": "2026-01-01T00:00:00Z",
        "mentions": ["Bob", "acme_support", ""],
        "hashtags": ["spring"],
        "links": [f"https://bsky.app/profile/{DID}", "https://acme.example"],
        "url": f"https://bsky.app/profile/{DID}/post/1",
        "quotes": "at://did:plc:other/app.bsky.feed.post/9",
        "text": "hello @Bob",
        "followers": 7,
        "something": "else",
    }
    key, value = pseudonyms.record(json.dumps(event).encode())
    sent, parsed = json.loads(value), parse_event(value)
    for name in (b"bot", b"Bob", DID.encode(), b"did:plc:other"):
        assert name not in value
    assert key.decode() == parsed["post_id"] == sent["event_id"]
    assert parsed["author_id"] == expected(DID)
    assert conversation_keys(parsed["hashtags"], parsed["mentions"]) == [
        "hashtag:spring",
        f"mention:{expected('bob')}",
        "mention:acme_support",
    ]
    assert {name: sent[name] for name in ("followers", "something", "occurred_at", "hashtags")} == {
        name: event[name] for name in ("followers", "something", "occurred_at", "hashtags")
    }
    with pytest.raises(Refused, match="ENGAGEMENT_PSEUDONYM_KEY"):
        pseudonyms.record(b"[]")


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_accounts_have_different_pseudonyms_of_one_form(one: str, other: str) -> None:
    pseudonyms = Pseudonyms(KEY)
    made = pseudonyms.of_account(one)
    assert len(made) == 28
    assert made.isascii()
    assert (made == pseudonyms.of_account(other)) == (one.removeprefix("@") == other.removeprefix("@"))


def test_every_source_goes_through_and_people_are_counted_alike(tmp_path: Path) -> None:
    policy = SimulationPolicy(events=2000, posts=40, seed=3)
    plain, hidden = FakeRecordProducer(), FakeRecordProducer()
    send_all(SimulationSource(policy), KafkaDestination(plain, Topics(), 4))
    send_all(SimulationSource(policy), KafkaDestination(hidden, Topics(), 4, Pseudonyms(KEY)))
    before, after = ([json.loads(record[3] or b"") for record in each.sent] for each in (plain, hidden))
    assert len(before) == len(after) >= 2000
    names = {event["actor_id"] for event in before if event["actor_id"]}
    pairs = {(old["actor_id"], new["actor_id"]) for old, new in zip(before, after, strict=True) if old["actor_id"]}
    assert len(pairs) == len(names) == len({new for _, new in pairs})
    assert all(new == expected(old.removeprefix("@")) for old, new in pairs)
    # A file that was written before goes the same way, and a second time nothing changes.
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join((record[3] or b"") + b"\n" for record in hidden.sent))
    again = FakeRecordProducer()
    send_all(ReplaySource((str(path),)), KafkaDestination(again, Topics(), 4, Pseudonyms(KEY)))
    assert [json.loads(record[3] or b"") for record in again.sent] == after


def test_bytes_of_bad_inputs_are_withheld() -> None:
    producer = FakeRecordProducer()
    KafkaDestination(producer, Topics(), 4, Pseudonyms(KEY)).add_dead(
        BadInput("file:1", "no JSON", b"ann was here", "")
    )
    producer.flush()
    ((_, _, _, value, headers),) = producer.sent
    assert not value
    assert (WITHHELD_HEADER, b"12") in headers


def test_the_collector_replaces_accounts_and_withholds_rejected_bytes() -> None:
    collector = FakeCollector(Settings(pseudonym_key=SecretStr(KEY)))
    good = {
        "event_id": "1",
        "kind": "like",
        "post_id": f"at://{DID}/app.bsky.feed.post/1",
        "actor_id": "ann",
        "occurred_at": "2026-01-01T00:00:00Z",
    }
    answer = collector.post(json=[good, {"actor_id": "ann"}])
    assert answer.status_code in (202, 207, 422)
    (like,) = collector.sender.of("likes")
    assert json.loads(like.value)["actor_id"] == expected("ann")
    assert like.key == f"at://{expected(DID)}/app.bsky.feed.post/1".encode()
    (dead,) = collector.sender.of("dead-letters")
    assert dead.value == b""


def test_letters_that_are_sent_again_have_pseudonyms() -> None:
    value = (
        b'{"event_id": "l", "kind": "like", "post_id": "p", "actor_id": "ann", "occurred_at": "2026-01-01T00:00:00Z"}'
    )
    letter = DeadLetter("collector", -1, 0, None, value, 0, "was refused", "")
    plan = plan_retry(letter, Topics(), parse_event(value)["occurred_at"], 600)
    producer = FakeRecordProducer()
    assert retry([plan], producer, False, Pseudonyms(KEY))["sent"] == 1
    assert json.loads(producer.sent[0][3] or b"")["actor_id"] == expected("ann")


def test_the_key_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGEMENT_PSEUDONYM_KEY", "too-short-a-key")
    with pytest.raises(SettingsError, match="ENGAGEMENT_PSEUDONYM_KEY: must have 32 characters") as error:
        load_settings()
    assert "too-short" not in str(error.value)
    monkeypatch.setenv("ENGAGEMENT_PSEUDONYM_KEY", KEY)
    settings = load_settings()
    pseudonyms = load_pseudonyms(settings)
    assert pseudonyms is not None
    assert KEY not in repr(settings) + repr(pseudonyms) + str(settings.model_dump())
    with pytest.raises(TypeError, match="secrets"):
        pickle.dumps(pseudonyms)
    monkeypatch.delenv("ENGAGEMENT_PSEUDONYM_KEY")
    assert load_pseudonyms(Settings()) is None
