"""CloudEvents and webhooks: which events they become, and how they are signed."""

import hashlib
import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cloudevents.v1.conversion import to_binary, to_structured
from cloudevents.v1.http import CloudEvent
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from pipeline.errors import SettingsError
from pipeline.settings import Settings
from producers.collector.access.grants import AccessPolicy
from producers.collector.access.keys_file import KeysDocument, SecretPlace, new_key, write_keys
from producers.collector.inlets import make_inlets
from producers.collector.mappers.hooks import HOOKS, HookSpec
from producers.collector.mappers.mapped_hook import mapped_hook
from producers.collector.mappers.port import MappedItem, RequestFacts
from producers.collector.openapi import openapi_document
from schemas.events import parse_event
from tests.fakes_collector import LIKE, FakeCollector, like

CLOUD = "/v1/cloudevents"
BATCHED = {"content-type": "application/cloudevents-batch+json"}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}


def envelope(data: Any, **changes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.shop.like", "data": data, **changes}


def sent(collector: FakeCollector) -> list[dict[str, Any]]:
    return [dict(parse_event(record.value)) for record in collector.sender.sent if "dead" not in record.topic]


def test_the_library_of_cloudevents_is_understood() -> None:
    collector = FakeCollector()
    for number, convert in enumerate((to_structured, to_binary)):
        headers, body = convert(CloudEvent({"type": "com.shop.like", "source": "/shop"}, like(number)))
        answer = collector.post(CLOUD, headers=headers, content=body)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1), answer.text
    assert [event["event_id"] for event in sent(collector)] == ["l0", "l1"]


def test_the_envelope_fills_gaps() -> None:
    collector = FakeCollector()
    bare = {"actor_id": "ann"}
    facts = {"subject": "p9", "time": "2026-01-02T03:04:05Z"}
    batch = [
        envelope(bare, **facts),
        envelope(bare, **facts, id="2", type="share"),
        envelope({**bare, "target_id": "/shop#1"}, **facts, id="3", type="com.shop.like.retracted"),
        envelope(LIKE, **facts, id="4"),
    ]
    assert collector.post(CLOUD, json=batch, headers=BATCHED).json() == {"accepted": 4, "rejected": []}
    first, second, third, fourth = sent(collector)
    assert first == {
        "kind": "like",
        "event_id": "/shop#1",
        "post_id": "p9",
        "actor_id": "ann",
        "occurred_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    assert (second["kind"], second["event_id"]) == ("share", "/shop#2")
    assert (third["action"], third["kind"], third["event_id"]) == ("retract", "like", "/shop#1#undo")
    assert (fourth["event_id"], fourth["post_id"]) == ("l1", "p1"), "the data wins"


def test_binary_mode_with_percent_encoded_headers() -> None:
    collector = FakeCollector()
    headers = {
        "ce-specversion": "1.0", "ce-id": "7", "ce-source": "/caf%C3%A9", "ce-type": "comment", "ce-subject": "p%201",
        "content-type": "application/json",
    }  # fmt: skip
    body = json.dumps({"actor_id": "a", "occurred_at": "2026-01-01T00:00:00Z"})
    assert collector.post(CLOUD, content=body, headers=headers).status_code == 202
    [event] = sent(collector)
    assert (event["event_id"], event["post_id"]) == ("/café#7", "p 1")


def test_activities_in_cloudevents() -> None:
    collector = FakeCollector()
    activity = {"id": "l", "type": "Like", "actor": "ann", "object": "n"}
    body = envelope(activity, datacontenttype="application/activity+json", type="activity")
    assert collector.post(CLOUD, json=body, headers=STRUCTURED).status_code == 202
    assert [event["post_id"] for event in sent(collector)] == ["n"]


def test_data_in_base64() -> None:
    collector = FakeCollector()
    body = envelope(None, data_base64=b64encode(json.dumps(LIKE).encode()).decode())
    assert collector.post(CLOUD, json=body, headers=STRUCTURED).status_code == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "specversion"),
        (envelope(LIKE, specversion="0.3"), "specversion"),
        (envelope(LIKE, id=""), "id"),
        (envelope(LIKE, source=None), "source"),
        (envelope(LIKE, type=5), "type"),
        (envelope(None), "data"),
        (envelope("text"), "data"),
        (envelope(LIKE, data_base64="e30="), "data_base64"),
        (envelope(None, data_base64="%"), "data_base64"),
        (envelope(LIKE, datacontenttype="text/xml"), "datacontenttype"),
        (envelope(LIKE, time=5), "time"),
        (envelope({}), "post_id"),
        ("text", ""),
    ],
)
def test_flaws_of_cloudevents_are_named(body: Any, field: str) -> None:
    collector = FakeCollector()
    answer = collector.post(CLOUD, json=[envelope(LIKE), body], headers=BATCHED)
    assert answer.status_code == 207
    [flaw] = answer.json()["rejected"]
    assert (flaw["index"], flaw["field"]) == (1, field)
    single = collector.post(CLOUD, json=body, headers=STRUCTURED)
    assert single.json()["rejected"][0]["field"] == field


def test_what_is_no_cloudevent() -> None:
    answer = FakeCollector().post(CLOUD, json=LIKE)
    assert (answer.status_code, answer.json()["rejected"][0]["field"]) == (422, "specversion")
    assert FakeCollector().post(CLOUD, json={}, headers=BATCHED).status_code == 422


REPOSITORY = {"id": 1, "full_name": "ann/tool", "html_url": "https://github.com/ann/tool"}
BOB = {"login": "bob", "id": 7}


def github(name: str, **payload: Any) -> dict[str, Any]:
    """The arguments of a post."""
    return {"json": {"repository": REPOSITORY, "sender": BOB, **payload}, "headers": {"x-github-event": name}}


def test_stars_and_forks() -> None:
    collector = FakeCollector()
    for request in (
        github("ping", zen="Anything added dilutes everything else.", hook_id=1),
        github("star", action="created", starred_at="2026-02-01T00:00:00Z"),
        github("watch", action="started"),
        github("star", action="deleted", starred_at=None),
        github("star", action="created", starred_at="2026-02-02T00:00:00Z"),
        github("fork", forkee={"html_url": "https://github.com/bob/tool", "created_at": "2026-02-03T00:00:00Z"}),
    ):
        assert collector.post("/hooks/github", **request).status_code == 202
    star, unstar, again, fork = sent(collector)
    assert (star["kind"], star["post_id"], star["actor_id"]) == ("like", REPOSITORY["html_url"], "bob")
    assert star["channel"] == "github"
    assert (unstar["action"], unstar["target_id"]) == ("retract", star["event_id"])
    assert again["event_id"] != star["event_id"]
    assert (fork["kind"], fork["event_id"]) == ("share", "https://github.com/bob/tool")
    unknown = FakeCollector().post("/hooks/github", **github("star", action="deleted", starred_at=None))
    assert (unknown.status_code, unknown.json()["rejected"][0]["field"]) == (422, "sender.id")


def test_issues_and_comments() -> None:
    collector = FakeCollector()
    issue = {"html_url": "https://github.com/ann/tool/issues/1", "user": BOB, "created_at": "2026-02-01T00:00:00Z"}
    said = {**issue, "html_url": issue["html_url"] + "#issuecomment-5", "id": 5}  # type: ignore[operator]
    talk = {"html_url": "https://github.com/ann/tool/discussions/3", "user": BOB, "created_at": "2026-02-01T00:00:00Z"}
    first = {**talk, "html_url": f"{talk['html_url']}#discussioncomment-8", "id": 8, "parent_id": None}
    second = {**talk, "html_url": f"{talk['html_url']}#discussioncomment-9", "id": 9, "parent_id": 8}
    for request in (
        github("issues", action="opened", issue=issue),
        github("issues", action="labeled", issue=issue),
        github("issue_comment", action="created", issue=issue, comment=said),
        github("issue_comment", action="edited", issue=issue, comment=said),
        github("issue_comment", action="deleted", issue=issue, comment=said),
        github("discussion", action="created", discussion=talk),
        github("discussion_comment", action="created", discussion=talk, comment=first),
        github("discussion_comment", action="created", discussion=talk, comment=second),
    ):
        assert collector.post("/hooks/github", **request).status_code == 202
    post, comment, gone, topic, above, below = sent(collector)
    assert (post["kind"], post["post_id"], post["event_id"]) == ("post", issue["html_url"], issue["html_url"])
    assert (comment["kind"], comment["post_id"], comment["event_id"]) == (
        "comment",
        issue["html_url"],
        said["html_url"],
    )
    assert (gone["action"], gone["target_id"]) == ("retract", said["html_url"])
    assert topic["post_id"] == above["post_id"] == below["post_id"] == talk["html_url"]
    assert (above.get("parent_id"), below["parent_id"]) == (None, above["event_id"])


def test_reviews_and_releases_of_github() -> None:
    collector = FakeCollector()
    pull = {"html_url": "https://github.com/ann/tool/pull/2", "user": BOB, "created_at": "2026-02-01T00:00:00Z"}
    line = {**pull, "html_url": f"{pull['html_url']}#discussion_r11", "id": 11}
    answer = {**pull, "html_url": f"{pull['html_url']}#discussion_r12", "id": 12, "in_reply_to_id": 11}
    review = {
        "html_url": f"{pull['html_url']}#pullrequestreview-1",
        "user": BOB,
        "submitted_at": "2026-02-01T00:00:00Z",
    }
    release = {
        "html_url": f"{REPOSITORY['html_url']}/releases/tag/v1",
        "author": BOB,
        "published_at": "2026-02-01T00:00:00Z",
    }
    sha = {**line, "html_url": "https://github.com/ann/tool/commit/abc#commitcomment-1", "commit_id": "abc"}
    for request in (
        github("pull_request", action="opened", pull_request=pull),
        github("pull_request_review_comment", action="created", pull_request=pull, comment=line),
        github("pull_request_review_comment", action="created", pull_request=pull, comment=answer),
        github("pull_request_review", action="submitted", pull_request=pull, review={**review, "body": None}),
        github("pull_request_review", action="submitted", pull_request=pull, review={**review, "body": "good"}),
        github("release", action="published", release=release),
        github("commit_comment", action="created", comment=sha),
    ):
        assert collector.post("/hooks/github", **request).status_code == 202
    events = sent(collector)
    assert [event["kind"] for event in events] == ["post", "comment", "comment", "comment", "post", "comment"]
    assert events[2]["parent_id"] == events[1]["event_id"]
    assert events[5]["post_id"] == "https://github.com/ann/tool/commit/abc"


def test_flaws_of_github_are_named() -> None:
    collector = FakeCollector()
    answer = collector.post("/hooks/github", **github("fork", forkee={"html_url": "x"}))
    assert answer.json()["rejected"][0]["field"] == "forkee.created_at"
    assert collector.post("/hooks/github", json={}).json()["rejected"][0]["field"] == "x-github-event"
    form = {"x-github-event": "star", "content-type": "application/x-www-form-urlencoded"}
    star = github("star", action="created", starred_at="2026-02-01T00:00:00Z")["json"]
    answer = collector.post("/hooks/github", content=urlencode({"payload": json.dumps(star)}), headers=form)
    assert answer.status_code == 202
    assert collector.post("/hooks/github", content="x=1", headers=form).json()["rejected"][0]["field"] == "payload"


def discourse(name: str, **payload: Any) -> dict[str, Any]:
    headers = {"x-discourse-event": name, "x-discourse-instance": "https://meta.example"}
    return {"json": payload, "headers": headers}


def test_discourse() -> None:
    collector = FakeCollector()
    created = {"id": 100, "topic_id": 5, "username": "ann", "created_at": "2026-02-01T00:00:00.000Z"}
    answer = {**created, "id": 102, "post_number": 3, "username": "bob", "reply_to_post_number": 2}
    for request in (
        discourse("ping", ping="OK"),
        discourse("topic_created", topic={"id": 5, "created_by": {"username": "ann"}, "tags": ["launch"],
                                          "created_at": "2026-02-01T00:00:00.000Z"}),
        discourse("post_created", post={**created, "post_number": 1}),
        discourse("post_created", post={**created, "post_number": 2, "reply_to_post_number": None}),
        discourse("post_created", post=answer),
        discourse("post_edited", post=answer),
        discourse("post_liked", like={"post": answer, "user": {"id": 9, "username": "cid"}}),
        discourse("post_destroyed", post=answer),
        discourse("topic_destroyed", topic={"id": 5, "created_by": {"username": "ann"}}),
    ):  # fmt: skip
        assert collector.post("/hooks/discourse", **request).status_code == 202
    topic, post, first, second, liked, gone, closed = sent(collector)
    base = "https://meta.example/t/5"
    assert (topic["event_id"], topic["hashtags"]) == (base, ["launch"])
    assert (post["kind"], post["post_id"], post["event_id"]) == ("post", base, base)
    assert (first["kind"], first["event_id"], first.get("parent_id")) == ("comment", f"{base}/2", None)
    assert (second["event_id"], second["parent_id"], second["channel"]) == (f"{base}/3", f"{base}/2", "discourse")
    assert (liked["kind"], liked["post_id"], liked["parent_id"], liked["actor_id"]) == (
        "like",
        base,
        f"{base}/3",
        "cid",
    )
    assert (gone["action"], gone["target_id"]) == ("retract", f"{base}/3")
    assert (closed["kind"], closed["action"], closed["target_id"]) == ("post", "retract", base)
    flaw = collector.post("/hooks/discourse", **discourse("post_created", post={}))
    assert flaw.json()["rejected"][0]["field"] == "post.topic_id"


def test_the_generic_webhook() -> None:
    collector = FakeCollector()
    bare = {"post_id": "p", "actor_id": "ann"}
    wrapped = {"type": "like.created", "timestamp": "2026-02-01T00:00:00Z", "data": bare}
    answer = collector.post("/hooks/generic", json=wrapped, headers={"webhook-id": "msg_1"})
    assert answer.status_code == 202
    [event] = sent(collector)
    assert event["kind"] == "like"
    again = collector.post("/hooks/generic", json=wrapped, headers={"webhook-id": "msg_1"})
    assert again.headers["idempotent-replayed"] == "true"
    undone = {**wrapped, "type": "like.deleted", "data": {**bare, "target_id": event["event_id"]}}
    assert collector.post("/hooks/generic", json=[undone, LIKE]).json()["accepted"] == 2
    assert collector.post("/hooks/generic", json={"type": "x", "data": {}}).json()["rejected"][0]["field"] == "kind"
    assert collector.post("/hooks/nobody", json={}).status_code == 404


def test_a_further_hook_is_one_line() -> None:
    class Shout:
        def map(self, body: bytes, facts: RequestFacts) -> list[MappedItem]:
            return [MappedItem(body, json.dumps(like(len(body))).encode())]

    inlets = make_inlets(
        Settings(), {**HOOKS, "shout": HookSpec(lambda _: Shout(), HOOKS["generic"].scheme, "s", "Shouts")}
    )
    assert [inlet.place for inlet in inlets][-1] == "/hooks/shout"


def test_flaws_of_a_mapped_hook_are_named_by_the_number_of_the_row(tmp_path: Path) -> None:
    rule = "{kind: KIND, event_id: {template: 'KIND-{id}'}, post_id: id, actor_id: who, occurred_at: at}"
    rules = [rule.replace("KIND", kind) for kind in ("post", "like")]
    (tmp_path / "shop.yaml").write_text("version: 1\nevents:\n" + "".join(f"  - {each}\n" for each in rules))
    name, hook = mapped_hook(f"shop={tmp_path / 'shop.yaml'}")
    collector = FakeCollector(hooks={**HOOKS, name: hook})
    good = {"id": 1, "who": "ana", "at": "2026-01-01T00:00:00Z"}
    answer = collector.post("/hooks/shop", json=[good, {**good, "at": "soon"}, {**good, "id": 3}])
    assert answer.json()["accepted"] == 4
    assert [each["index"] for each in answer.json()["rejected"]] == [1, 1]
    assert [dict(each.headers)["offset"] for each in collector.sender.of("dead-letters")] == [b"1", b"1"]
    document = openapi_document(
        {inlet.place: inlet.summary for inlet in make_inlets(Settings(), {**HOOKS, name: hook})}
    )
    assert "shop.yaml" in document["paths"]["/hooks/shop"]["post"]["summary"]


def signed_collector(tmp_path: Path) -> tuple[FakeCollector, str]:
    """A collector with one key, and its secret."""
    secret = "whsec_" + "QUJD" * 8
    document, _, _ = new_key(
        KeysDocument(), source="hub", channels=["github"], secret=SecretPlace(clear=SecretStr(secret))
    )
    write_keys(tmp_path / "keys.yaml", document)
    return FakeCollector(access=AccessPolicy(tmp_path / "keys.yaml")), secret


@pytest.mark.parametrize(
    ("hook", "header", "event"),
    [
        ("github", "x-hub-signature-256", {"x-github-event": "ping"}),
        ("discourse", "x-discourse-event-signature", {"x-discourse-event": "ping"}),
    ],
)
def test_signatures_of_products(tmp_path: Path, hook: str, header: str, event: dict[str, str]) -> None:
    collector, secret = signed_collector(tmp_path)
    body = b'{"zen": "x"}'
    right = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()

    def post(signature: str | None, content: bytes = body) -> int:
        headers = {**event, **({header: signature} if signature is not None else {})}
        return collector.post(f"/hooks/{hook}", content=content, headers=headers).status_code

    assert post(right) == 202
    for wrong in (None, "", "sha256=", right[:-1], right.upper(), "sha1=" + right, "sha256=é"):
        assert post(wrong) == 401
    assert post(right, body + b" ") == 401


def test_signatures_of_standard_webhooks(tmp_path: Path) -> None:
    collector, secret = signed_collector(tmp_path)
    body = json.dumps({name: value for name, value in LIKE.items() if name not in ("channel", "event_id")})

    def post(age: float = 0, content: str = body, message: str = "msg_1", **changes: str) -> Any:
        stamp = datetime.now(UTC) - timedelta(seconds=age)
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(stamp.timestamp())),
            "webhook-signature": Webhook(secret).sign(message, stamp, body),
        }
        return collector.post(content=content, headers={**headers, **changes})

    assert post().status_code == 202
    [event] = sent(collector)
    assert event["channel"] == "github", "the only channel of the key"
    assert post().headers["idempotent-replayed"] == "true", "a copy within five minutes"
    assert len(sent(collector)) == 1
    assert post(age=240, message="msg_2").status_code == 202
    assert post(age=400, message="msg_3").status_code == 401, "too old"
    assert post(age=-400, message="msg_3").status_code == 401, "too new"
    assert post(message="msg_4", content=body + " ").status_code == 401
    for flaw in (
        {"webhook-id": "msg_9"}, {"webhook-timestamp": "nan"}, {"webhook-timestamp": "1e400"},
        {"webhook-timestamp": ""},
        {"webhook-signature": "v1"}, {"webhook-signature": "v1,%%%"}, {"webhook-signature": "v1,"},
        {"webhook-signature": "v2,abc v1,AAAA"}, {"webhook-signature": "é"},
    ):  # fmt: skip
        assert post(message="msg_5", **flaw).status_code == 401, flaw


SHOP = """
version: 1
constants: {channel: shop}
events:
  - when: type == 'liked'
    kind: like
    event_id: id
    post_id: item.sku
    actor_id: user
    occurred_at: {path: at, time: seconds}
"""


def test_a_hook_of_any_shape_by_a_map(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    name, spec = mapped_hook(f"shop={tmp_path / 'shop.yaml'}")
    collector = FakeCollector(hooks={**HOOKS, name: spec})
    row = {"type": "liked", "id": "1", "item": {"sku": "s-1"}, "user": "ann", "at": 1_767_225_600}
    rows = [row, {"type": "viewed"}, {**row, "at": "soon"}, {**row, "id": "2", "user": None}]
    answer = collector.post("/hooks/shop", json=rows)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["ignored"]) == (207, 1, 1)
    assert [(each["index"], each["field"]) for each in answer.json()["rejected"]] == [
        (2, "occurred_at"),
        (3, "actor_id"),
    ]
    [event] = sent(collector)
    assert event == {
        "kind": "like",
        "event_id": "1",
        "post_id": "s-1",
        "actor_id": "ann",
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
        "channel": "shop",
    }
    assert [json.loads(record.value) for record in collector.sender.of("dead-letters")] == rows[2:]


@pytest.mark.parametrize("option", ["shop", "=shop.yaml", "a b=reddit", "github=reddit", "shop=nowhere.yaml"])
def test_hooks_that_cannot_work(option: str) -> None:
    with pytest.raises(SettingsError):
        mapped_hook(option)
    assert mapped_hook("news=reddit")[0] == "news", "a shipped map"
