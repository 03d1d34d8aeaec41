"""Activities as Mastodon, Lemmy and others send them: which events they become."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from producers.collector.mappers.activity_streams import ActivityStreams
from producers.collector.mappers.known_objects import KnownObject, KnownObjects
from producers.collector.mappers.port import MappedItem, RequestFacts
from schemas.events import parse_event
from tests.fakes_collector import FakeCollector

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FACTS = RequestFacts({}, NOW)
PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
ANN, BOB = "https://mastodon.example/users/ann", "https://other.example/users/bob"
NOTE = f"{ANN}/statuses/1"
CONTEXT = "https://mastodon.example/contexts/1-1"


def note(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A note in Mastodon's shape."""
    made = {
        "id": f"{ANN}/statuses/{number}",
        "type": "Note",
        "summary": None,
        "inReplyTo": None,
        "published": "2026-03-01T10:00:00Z",
        "url": f"https://mastodon.example/@ann/{number}",
        "attributedTo": ANN,
        "to": [PUBLIC],
        "cc": [f"{ANN}/followers"],
        "sensitive": False,
        "conversation": "tag:mastodon.example,2026-03-01:objectId=1:objectType=Conversation",
        "context": CONTEXT,
        "content": '<p>See <a href="https://news.example/a?b=1&amp;c=2">this</a> '
        '<a href="https://mastodon.example/tags/launch" class="mention hashtag" rel="tag">#launch</a> '
        '<a href="https://other.example/@bob" class="u-url mention">@bob</a></p>',
        "tag": [
            {"type": "Hashtag", "href": "https://mastodon.example/tags/launch", "name": "#launch"},
            {"type": "Mention", "href": BOB, "name": "@bob@other.example"},
            {"type": "Emoji", "name": ":blob:"},
        ],
        "replies": {"id": f"{ANN}/statuses/{number}/replies", "type": "Collection"},
    }
    return {**made, **changes}


def create(inner: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A Create of it."""
    return {
        "@context": ["https://www.w3.org/ns/activitystreams", {"sensitive": "as:sensitive"}],
        "id": f"{inner['id']}/activity",
        "type": "Create",
        "actor": inner["attributedTo"],
        "published": inner["published"],
        "object": inner,
        **changes,
    }


def reply(number: int, to: str, **changes: Any) -> dict[str, Any]:
    """A note of bob's that answers another."""
    return note(number, id=f"{BOB}/statuses/{number}", attributedTo=BOB, inReplyTo=to, content="yes", tag=[], **changes)


class Inbox:
    """The mapper, with what it remembers."""

    def __init__(self, known: KnownObjects | None = None) -> None:
        self._mapper = ActivityStreams(known or KnownObjects())

    def items(self, *activities: Any) -> list[MappedItem]:
        said = activities[0] if len(activities) == 1 else activities
        return list(self._mapper.map(json.dumps(said).encode(), FACTS))

    def event(self, activity: Any) -> dict[str, Any]:
        """The only event, without its time; it is valid."""
        [item] = self.items(activity)
        assert item.flaw is None, item.flaw
        assert item.value is not None, "ignored"
        event = dict(parse_event(item.value))
        event.pop("occurred_at")
        return event

    def flaw(self, activity: Any) -> tuple[str, str]:
        [item] = self.items(activity)
        assert item.flaw is not None, item.value
        return item.flaw.field, item.flaw.reason

    def is_ignored(self, activity: Any) -> bool:
        [item] = self.items(activity)
        assert item.flaw is None, item.flaw
        return item.value is None


def like(of: Any = NOTE, number: int = 1, **changes: Any) -> dict[str, Any]:
    """Mastodon's Like has no time."""
    return {"id": f"{BOB}#likes/{number}", "type": "Like", "actor": BOB, "object": of, **changes}


def test_a_post_of_mastodon() -> None:
    [item] = Inbox().items(create(note()))
    assert item.value is not None
    event = parse_event(item.value)
    assert event == {
        "kind": "post",
        "event_id": NOTE,
        "post_id": NOTE,
        "actor_id": ANN,
        "occurred_at": datetime(2026, 3, 1, 10, tzinfo=UTC),
        "url": "https://mastodon.example/@ann/1",
        "hashtags": ["launch"],
        "mentions": ["bob@other.example"],
        "links": ["https://news.example/a?b=1&c=2"],
    }


def test_a_thread_lies_under_its_post() -> None:
    inbox = Inbox()
    assert inbox.event(create(note()))["post_id"] == NOTE
    first = inbox.event(create(reply(2, NOTE)))
    assert (first["kind"], first["post_id"], first.get("parent_id")) == ("comment", NOTE, None)
    nested = inbox.event(create(reply(3, f"{BOB}/statuses/2", context=None, conversation=None)))
    assert (nested["post_id"], nested["parent_id"]) == (NOTE, f"{BOB}/statuses/2")
    assert "links" not in nested
    on_comment = inbox.event(like(f"{BOB}/statuses/3"))
    assert (on_comment["kind"], on_comment["post_id"], on_comment["parent_id"]) == ("like", NOTE, f"{BOB}/statuses/3")
    assert inbox.event(like(NOTE)) == {"kind": "like", "event_id": f"{BOB}#likes/1", "post_id": NOTE, "actor_id": BOB}
    share = {"id": f"{BOB}/boosts/1", "type": "Announce", "actor": BOB, "object": NOTE, "to": [PUBLIC],
             "published": "2026-03-01T11:00:00Z"}  # fmt: skip
    assert inbox.event(share) == {"kind": "share", "event_id": f"{BOB}/boosts/1", "post_id": NOTE, "actor_id": BOB}


def test_the_context_is_the_thread_where_the_answered_note_is_unknown() -> None:
    inbox = Inbox()
    nested = inbox.event(create(reply(7, "https://third.example/notes/6")))
    assert (nested["post_id"], nested["parent_id"]) == (CONTEXT, "https://third.example/notes/6")
    later = inbox.event(create(reply(8, "https://third.example/notes/5")))
    assert later["post_id"] == CONTEXT
    post = inbox.event(create(note()))
    assert (post["post_id"], post["event_id"]) == (CONTEXT, NOTE), "the post joins its thread"
    assert inbox.event(like(NOTE))["post_id"] == CONTEXT
    old = inbox.event(create(reply(9, "https://third.example/x", context=None)))
    assert old["post_id"].startswith("tag:mastodon.example"), "Mastodon's conversation, before it knew contexts"
    bare = inbox.event(create(reply(10, "https://third.example/y", context=None, conversation=None)))
    assert (bare["post_id"], bare.get("parent_id")) == ("https://third.example/y", None)
    embedded = reply(
        11,
        "",
        context=None,
        conversation=None,
    )
    embedded["inReplyTo"] = {"type": "Note", "id": "https://third.example/z", "context": "https://third.example/c"}
    assert inbox.event(create(embedded))["post_id"] == "https://third.example/c"


def test_reactions_to_embedded_notes_find_the_thread() -> None:
    event = Inbox().event(like(reply(5, "https://third.example/notes/4")))
    assert (event["post_id"], event["parent_id"]) == (CONTEXT, f"{BOB}/statuses/5")
    event = Inbox().event(like(note()))
    assert (event["post_id"], event.get("parent_id")) == (NOTE, None)


def test_what_is_taken_back() -> None:
    inbox = Inbox()
    inbox.event(create(note()))
    inbox.event(create(reply(2, NOTE)))
    inbox.event(like())
    whole = {"id": f"{BOB}#likes/1/undo", "type": "Undo", "actor": BOB, "object": like()}
    taken = {
        "kind": "like",
        "action": "retract",
        "event_id": f"{BOB}#likes/1#undo",
        "target_id": f"{BOB}#likes/1",
        "post_id": NOTE,
        "actor_id": BOB,
    }
    assert inbox.event(whole) == taken
    assert inbox.event({**whole, "object": f"{BOB}#likes/1"}) == taken, "by id alone"
    assert Inbox().event(whole) == taken, "embedded, of a like that is not known"
    boost = {"id": f"{BOB}/1/activity", "type": "Announce", "actor": BOB, "object": NOTE}
    undone = inbox.event({"type": "Undo", "actor": BOB, "object": boost})
    assert (undone["kind"], undone["target_id"], undone["post_id"]) == ("share", f"{BOB}/1/activity", NOTE)
    for form in (f"{BOB}/statuses/2", {"type": "Tombstone", "id": f"{BOB}/statuses/2", "atomUri": "x"}):
        gone = inbox.event({"id": "d", "type": "Delete", "actor": BOB, "object": form})
        assert (gone["kind"], gone["post_id"], gone["target_id"]) == ("comment", NOTE, f"{BOB}/statuses/2")
    of_create = inbox.event({"type": "Undo", "actor": ANN, "object": create(note())})
    assert (of_create["kind"], of_create["target_id"]) == ("post", NOTE)
    assert inbox.event({"type": "Delete", "actor": ANN, "object": f"{NOTE}/activity"})["target_id"] == NOTE


def test_what_cannot_be_taken_back_is_named() -> None:
    inbox = Inbox()
    assert inbox.flaw({"type": "Undo", "actor": BOB, "object": "https://x.example/unknown"})[0] == "object"
    assert inbox.flaw({"type": "Delete", "actor": BOB, "object": {"type": "Tombstone", "id": "y"}})[0] == "object"
    other = {"type": "Undo", "actor": ANN, "object": like()}
    assert inbox.flaw(other)[0] == "object.actor"


def test_a_like_again_after_an_undo_is_another_like() -> None:
    inbox = Inbox()
    ids = [inbox.event(like(NOTE, number))["event_id"] for number in (1, 2)]
    undo = {"type": "Undo", "actor": BOB, "object": f"{BOB}#likes/1"}
    assert inbox.event(undo)["target_id"] == ids[0] != ids[1]


LEMMY = "https://lemmy.example"


def page(**changes: Any) -> dict[str, Any]:
    """A post in Lemmy's shape."""
    return {
        "type": "Page",
        "id": f"{LEMMY}/post/1",
        "attributedTo": f"{LEMMY}/u/picard",
        "to": [f"{LEMMY}/c/main", PUBLIC],
        "audience": f"{LEMMY}/c/main",
        "name": "Post title",
        "content": "<p>text</p>\n",
        "mediaType": "text/html",
        "source": {"content": "text", "mediaType": "text/markdown"},
        "attachment": [{"type": "Link", "href": "https://lemmy.example/pictrs/image/1.png"}],
        "commentsEnabled": True,
        "sensitive": False,
        "language": {"identifier": "ko", "name": "한국어"},
        "published": "2026-03-01T09:35:01.000001Z",
        **changes,
    }


def comment(**changes: Any) -> dict[str, Any]:
    """A comment in Lemmy's shape."""
    return {
        "type": "Note",
        "id": f"{LEMMY}/comment/1",
        "attributedTo": f"{LEMMY}/u/parson",
        "to": [PUBLIC],
        "cc": [f"{LEMMY}/c/main", f"{LEMMY}/u/picard"],
        "content": "hello",
        "mediaType": "text/html",
        "inReplyTo": f"{LEMMY}/post/1",
        "published": "2026-03-01T09:40:00Z",
        "tag": [{"href": f"{LEMMY}/u/picard", "type": "Mention", "name": "@picard@lemmy.example"}],
        **changes,
    }


def announced(inner: Any) -> dict[str, Any]:
    """An activity as a community of Lemmy passes it on."""
    return {
        "actor": f"{LEMMY}/c/main",
        "to": [PUBLIC],
        "object": inner,
        "cc": [f"{LEMMY}/c/main/followers"],
        "type": "Announce",
        "id": f"{LEMMY}/activities/announce/{abs(hash(str(inner)))}",
    }


def acted(kind: str, actor: str, inner: Any, **changes: Any) -> dict[str, Any]:
    made = {"actor": f"{LEMMY}/u/{actor}", "object": inner, "type": kind, "audience": f"{LEMMY}/c/main"}
    return {**made, "id": f"{LEMMY}/activities/{kind.lower()}/1", **changes}


def test_lemmy_wraps_activities() -> None:
    inbox = Inbox()
    post = inbox.event(announced(acted("Create", "picard", page())))
    assert (post["kind"], post["post_id"], post["actor_id"]) == ("post", f"{LEMMY}/post/1", f"{LEMMY}/u/picard")
    assert post["links"] == ["https://lemmy.example/pictrs/image/1.png"]
    said = inbox.event(announced(acted("Create", "parson", comment())))
    assert (said["kind"], said["post_id"], said.get("parent_id")) == ("comment", f"{LEMMY}/post/1", None)
    assert said["mentions"] == ["picard@lemmy.example"]
    vote = acted("Like", "riker", f"{LEMMY}/comment/1")
    up = inbox.event(announced(vote))
    assert (up["kind"], up["post_id"], up["parent_id"]) == ("like", f"{LEMMY}/post/1", f"{LEMMY}/comment/1")
    down = inbox.event(announced(acted("Undo", "riker", vote)))
    assert (down["action"], down["target_id"], down["kind"]) == ("retract", vote["id"], "like")
    gone = inbox.event(announced(acted("Delete", "parson", f"{LEMMY}/comment/1")))
    assert (gone["kind"], gone["action"], gone["post_id"]) == ("comment", "retract", f"{LEMMY}/post/1")
    edited = inbox.event(announced(acted("Update", "picard", page(name="Other title"))))
    assert edited["event_id"] == post["event_id"]
    boost = inbox.event(announced(f"{LEMMY}/post/1"))
    assert (boost["kind"], boost["actor_id"], boost["post_id"]) == ("share", f"{LEMMY}/c/main", f"{LEMMY}/post/1")
    boost = inbox.event(announced(page()))
    assert (boost["kind"], boost["post_id"]) == ("share", f"{LEMMY}/post/1")
    assert inbox.is_ignored(announced(acted("Dislike", "riker", f"{LEMMY}/post/1")))
    assert inbox.is_ignored(announced(acted("Undo", "riker", acted("Dislike", "riker", f"{LEMMY}/post/1"))))
    assert inbox.is_ignored(announced(acted("Lock", "mod", f"{LEMMY}/post/1", type="Block")))


@pytest.mark.parametrize(
    "activity",
    [
        {"type": "Follow", "actor": BOB, "object": ANN, "id": "f"},
        {"type": "Undo", "actor": BOB, "object": {"type": "Follow", "actor": BOB, "object": ANN}},
        {"type": "Accept", "actor": ANN, "object": {"type": "Follow"}},
        {"type": "Delete", "actor": ANN, "object": ANN, "to": [PUBLIC]},
        {"type": "Update", "actor": ANN, "object": {"type": "Person", "id": ANN}},
        {"type": "Create", "actor": BOB, "object": note(4, inReplyTo=NOTE, name="yes", content=None)},
        {"type": "Like", "actor": BOB, "object": {"type": "Person", "id": ANN}},
    ],
)  # fmt: skip
def test_what_says_nothing_about_engagement(activity: dict[str, Any]) -> None:
    assert Inbox().is_ignored(activity)


@pytest.mark.parametrize(
    ("activity", "field"),
    [
        ({}, "type"),
        ({"type": "Sing"}, "type"),
        (3, ""),
        ({"type": "Like", "actor": BOB}, "object"),
        ({"type": "Like", "object": NOTE}, "actor"),
        ({"type": "Create", "actor": BOB, "object": NOTE}, "object"),
        ({"type": "Create", "actor": BOB}, "object"),
        ({"type": "Create", "actor": BOB, "object": {"type": "Note"}}, "object.id"),
        ({"type": "Create", "object": {"type": "Note", "id": "n"}}, "actor"),
        ({"type": "Create", "actor": BOB, "object": {"type": "Sculpture"}}, "object.type"),
    ],
)
def test_flaws_are_named(activity: Any, field: str) -> None:
    assert Inbox().flaw(activity)[0] == field


def test_other_spellings() -> None:
    inbox = Inbox()
    assert (
        inbox.event({"@id": "l", "@type": "as:Like", "actor": {"id": BOB}, "object": [{"id": NOTE}]})["post_id"] == NOTE
    )
    full = "https://www.w3.org/ns/activitystreams#Announce"
    assert inbox.event({"id": "b", "type": [full, "Extra"], "actor": [BOB], "object": NOTE})["kind"] == "share"
    assert inbox.event(like(content=":heart:", type="EmojiReact"))["kind"] == "like"
    without_id = {"type": "Like", "actor": BOB, "object": NOTE}
    assert inbox.event(without_id)["event_id"] == inbox.event(without_id)["event_id"]
    assert (
        inbox.event({"type": "Undo", "actor": BOB, "object": without_id})["target_id"]
        == inbox.event(without_id)["event_id"]
    )
    assert inbox.event(note(30))["kind"] == "post", "a note by itself is its creation"
    quote = inbox.event(create(note(31, quoteUrl=NOTE)))
    assert quote["quotes"] == NOTE
    addresses = [
        {"type": "Link", "mediaType": "video/mp4", "href": "https://v.example/1.mp4"},
        {"type": "Link", "mediaType": "text/html", "href": "https://v.example/1"},
    ]
    video = note(32, type="Video", url=addresses)
    assert inbox.event(create(video))["url"] == "https://v.example/1"


def test_collections_are_batches() -> None:
    outbox = {"type": "OrderedCollectionPage", "orderedItems": [create(note(1)), like(), {"type": "Sing"}, 5]}
    items = Inbox().items(outbox)
    assert [item.flaw.field if item.flaw else None for item in items] == [None, None, "type", ""]
    items = Inbox().items(create(note(1)), like())
    assert [parse_event(item.value or b"")["kind"] for item in items] == ["post", "like"]


def test_overlong_tags_do_not_cost_the_event() -> None:
    tags = [{"type": "Hashtag", "name": "#" + "x" * 1000}, {"type": "Hashtag", "name": "#ok"}, {"type": "Hashtag"}, "x"]
    assert Inbox().event(create(note(tag=tags)))["hashtags"] == ["ok"]
    assert Inbox().event(create(note(tag=tags[1])))["hashtags"] == ["ok"], "one tag without a list"


def test_what_is_known_outlives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with KnownObjects(path) as known:
        Inbox(known).event(create(note()))
        Inbox(known).event(like())
    with KnownObjects(path) as known:
        assert Inbox(known).event({"type": "Undo", "actor": BOB, "object": f"{BOB}#likes/1"})["post_id"] == NOTE
        assert Inbox(known).event(create(reply(2, NOTE)))["post_id"] == NOTE


def test_what_is_known_is_bounded() -> None:
    known = KnownObjects(most=10)
    for number in range(30):
        known.note(str(number), KnownObject("like", "p", f"e{number}", "a"))
    known.prune(0)
    assert sum(known.find(str(number)) is not None for number in range(30)) == 10
    known.prune(10**11)
    assert all(known.find(str(number)) is None for number in range(30))


def test_the_inbox_over_http() -> None:
    collector = FakeCollector()
    headers = {"content-type": 'application/ld+json; profile="https://www.w3.org/ns/activitystreams"'}
    answer = collector.post("/inbox", json=create(note()), headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": []})
    [record] = collector.sender.of("posts")
    assert parse_event(record.value)["channel"] == "fediverse"
    ignored = collector.post("/inbox", json={"type": "Follow", "actor": BOB, "object": ANN}, headers=headers)
    assert (ignored.status_code, ignored.json()["ignored"]) == (202, 1)
    bad = collector.post("/inbox", json={"type": "Undo", "actor": BOB, "object": "x"}, headers=headers)
    assert (bad.status_code, bad.json()["rejected"][0]["field"]) == (422, "object")
    assert len(collector.sender.of("dead-letters")) == 1
