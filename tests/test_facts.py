"""What a post is follows from the set of its own events."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.brands import Brand, Brands, brands_of
from processors.engagement.rows.post_facts import Facts, PostEvent, TrackedKeys
from processors.engagement.rows.post_facts import facts_of as facts_with
from schemas.labels import flat_labels


def event(event_id: str, at: int = 0, retracts: str = "", **more: Any) -> PostEvent:
    """An event of kind post."""
    fields: dict[str, Any] = {"author_id": "ann", "channel": "x", "url": "", "conversations": [], "links": []}
    return PostEvent("p", event_id, retracts, at, **{**fields, "quotes": "", "followers": None, **more})


def facts_of(events: list[PostEvent]) -> Facts | None:
    """Without any brand."""
    return facts_with(events, TrackedKeys(Brands()))


def test_nothing_is_known_of_a_post_without_an_event_of_its_own() -> None:
    assert facts_of([]) is None
    assert facts_of([event("u", 5, "p")]) is None


def test_the_newest_says_what_it_is_and_the_oldest_when_it_was_made() -> None:
    facts = facts_of([event("b", 5, url="new", conversations=["mention:bob", "hashtag:x"], followers=3), event("a", 2)])
    assert facts is not None
    assert (facts.url, facts.created_at, facts.followers, facts.deleted_at) == ("new", 2, 3, None)
    assert (facts.conversations, facts.mentions) == (["mention:bob", "hashtag:x", "author:x/ann"], ["bob"])


def test_a_post_belongs_to_the_brands_that_it_is_about_and_to_its_author() -> None:
    brands = brands_of({"acme": Brand(side="own", accounts=["ann"], domains=["acme.example"])})
    for more in ({}, {"author_id": "eve", "links": ["https://shop.acme.example/x"]}):
        said = event("p", **more)
        facts = facts_with([said], TrackedKeys(brands))
        assert facts is not None
        assert facts.conversations == ["brand:acme", f"author:x/{said.author_id}"]
        assert facts.links == said.links


def test_of_two_at_the_same_time_the_greater_id_wins() -> None:
    facts = facts_of([event("b", 1, url="b"), event("a", 1, url="a")])
    assert facts is not None
    assert facts.url == "b"


def test_the_first_deletion_of_an_event_that_is_known_counts() -> None:
    added = event("p")
    for retractions, deleted_at in (
        ([event("u", 7, "p"), event("v", 5, "p")], 5),
        ([event("u", 7, "else")], None),
        ([event("p", 7, "p")], 7),
    ):
        facts = facts_of([*retractions, added])
        assert facts is not None
        assert facts.deleted_at == deleted_at


def test_the_first_of_an_identity_counts() -> None:
    facts = facts_of([event("p", 1, author_id="first"), event("p", 9, author_id="second")])
    assert facts is not None
    assert (facts.author_id, facts.created_at) == ("first", 1)


events = st.builds(event, st.sampled_from("abc"), st.integers(0, 3), st.sampled_from(["", "", "a", "b"]))


@given(st.lists(events, unique_by=lambda e: (e.event_id, bool(e.retracts))), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(own: list[PostEvent], order: Any) -> None:
    shuffled = own + own[:3]
    order.shuffle(shuffled)
    assert facts_of(shuffled) == facts_of(own)


def test_labels_of_tracked_keys_are_conversations() -> None:
    labels = flat_labels({"Campaign": " Spring ", "format": "video", "product": "\u200b"})
    assert labels == ["campaign", "Spring", "format", "video", "product", "\u200b"]
    facts = facts_with([event("p", labels=labels)], TrackedKeys(Brands(), frozenset({"campaign", "product"})))
    assert facts is not None
    assert facts.labels == labels
    assert facts.conversations == ["label:campaign=spring", "author:x/ann"]


def test_labels_without_value_are_none() -> None:
    assert flat_labels(None) == flat_labels({}) == flat_labels({"a": " ", "b": ""}) == []
    assert flat_labels({"A": "1", "a": "2"}) == ["a", "2"], "the last in the order of spelling"
