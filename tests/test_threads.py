"""The conversation under a post: one by hand, random ones against plain Python, and whatever order they come in."""

import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
import pytest

from pipeline.brands import Brand, Brands, brands_of
from processors.engagement.business_hours import BusinessHours
from processors.engagement.fold.fold import Fold
from processors.engagement.fold.threads import ThreadPolicy, turns_of
from tests.folding import HASHER, differences, plain, take
from tests.thread_truth import OFFICE, Hours, thread_of
from tests.truth import truth_of

Event = dict[str, Any]

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def said(name: str, actor: str, clock: str, to: str | None = None, kind: str = "comment", **more: Any) -> Event:
    """A comment of the post p on a Monday, at `clock` (HH:MM)."""
    at = MONDAY + timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))
    content = {"event_id": name, "kind": kind, "post_id": "p", "actor_id": actor, "occurred_at": at.isoformat()}
    return {**content, **({"parent_id": to} if to else {}), **more}


def gone(name: str, kind: str = "comment", clock: str = "23:00") -> Event:
    return said(f"{name}#undo", "x", clock, None, kind, action="retract", target_id=name)


def threads_of(fold: Fold) -> list[Event]:
    """The columns of each post in memory; None for NaN."""
    columns = fold.threads(np.arange(len(fold)))
    return [dict(zip(columns, values, strict=True)) for values in zip(*map(plain, columns.values()), strict=True)]


def learn(fold: Fold, authors: list[str | None]) -> None:
    known = np.array([author is not None for author in authors])
    hashes = np.where(known, HASHER.actors([author or "" for author in authors]), np.uint64(0))
    fold.learn(np.arange(len(fold)), np.zeros(len(fold), np.uint32), hashes)


def thread(
    events: list[Event],
    author: str | None = "host",
    brands: Brands | None = None,
    hours: BusinessHours | None = None,
    limit: int = 1_000_000,
) -> Event:
    fold = Fold(limit, ThreadPolicy(turns_of(brands or Brands(), HASHER), hours or BusinessHours()))
    take(fold, events)
    learn(fold, [author])
    return threads_of(fold)[0]


def true_thread(events: list[Event], author: str | None, brand: set[str], hours: Hours = OFFICE) -> Event:
    (post,) = truth_of(events).values()
    return thread_of(post.adds, post.parents, post.takebacks.keys(), author, brand, hours)


PLANTED = [
    said("a", "ann", "08:30"),  # a question before hours, answered after 90 minutes
    said("b", "bob", "10:00"),  # answered after 5 by the support, after 20 by the author
    said("c", "cat", "11:00"),  # answered by the audience alone: unanswered
    said("d", "dan", "12:00"),  # answered after 40 minutes by a comment below a share
    said("e", "eve", "13:00"),  # its answer was deleted: unanswered
    said("f", "host", "09:00"),  # the author's own comment: a turn, but no answer
    said("a1", "host", "10:00", "a"),
    said("b1", "support", "10:05", "b"),
    said("b2", "host", "10:20", "b"),
    said("c1", "bob", "11:10", "c"),
    said("s", "sam", "12:10", "d", kind="share"),
    said("d1", "host", "12:40", "s"),
    said("e1", "host", "13:01", "e"),
    gone("e1"),
    said("a2", "ann", "10:30", "a1"),  # thanks: unanswered as well
    said("c2", "cat", "11:15", "c1"),  # cat answers bob, who had answered her
    said("e2", "fay", "14:00", "e1"),  # answers a comment that is gone: nobody
    said("l", "bob", "10:01", kind="like"),
]
ACME = brands_of(
    {
        "acme": Brand(side="own", accounts=["support"]),
        "globex": Brand(side="rival", accounts=["host2", "bob"]),
    }
)


def test_a_planted_thread() -> None:
    assert thread(PLANTED, "host", ACME) == {
        # Level 1: a b c d e f; level 2: a1 b1 b2 c1 d1; level 3: a2 c2, and e2 below a ghost.
        "thread_h_index": 3,
        # ann, bob, cat, dan and eve with host, bob with support and with cat.
        "thread_pairs": 7,
        # Both ways: ann and host (a, a1), bob and host (b, b2), dan and host (d, d1), bob and cat (c1, c2).
        "thread_reciprocity": 4 / 7,
        "brand_turns": 5,  # f a1 b1 b2 d1
        "audience_turns": 9,  # a b c d e c1 a2 c2 e2
        "answered": 3,  # a b d
        "unanswered": 6,  # c e c1 a2 c2 e2
        "oldest_unanswered_at": int((MONDAY + timedelta(hours=10, minutes=30)).timestamp()),  # a2
        "first_response_p50": 40.0,  # 5 40 90
        "first_response_p90": 80.0,  # 40 + 0.8 x 50
        "first_response_business_p50": 22.5,  # 5 40
        "first_response_business_p90": 36.5,
        "thread_reason": 0,
    }


def test_the_truth_agrees_with_the_hand() -> None:
    assert differences(thread(PLANTED, "host", ACME), true_thread(PLANTED, "host", {"support"})) == {}


def test_whose_post_it_is_decides_whose_turns_count() -> None:
    assert thread(PLANTED, "host", None)["brand_turns"] == 4  # support is nobody
    assert thread(PLANTED, "nobody", ACME)["brand_turns"] == 1  # support
    # A post of globex: its accounts host2 and bob, and ours.
    found = thread(PLANTED, "host2", ACME)
    assert found["brand_turns"] == 3  # b c1 and b1
    assert differences(found, true_thread(PLANTED, "host2", {"host2", "bob", "support"})) == {}


def test_a_post_that_has_not_come() -> None:
    found = thread(PLANTED, None, ACME)
    assert found == {
        "thread_h_index": 3,
        "thread_pairs": 5,  # host with ann, bob and dan, bob with support and cat
        "thread_reciprocity": 2 / 5,  # host and ann (a1, a2), bob and cat
        **dict.fromkeys(("brand_turns", "audience_turns", "answered", "unanswered", "oldest_unanswered_at"), 0),
        **dict.fromkeys(name for name in found if name.startswith("first_response")),
        "thread_reason": 1,
    }


def test_a_post_of_too_many_events() -> None:
    found = thread(PLANTED, "host", ACME, limit=10)
    assert {name for name, value in found.items() if value} == {"thread_reason"}
    assert found["thread_reason"] == 2


def test_a_post_without_comments() -> None:
    found = thread([said("l", "bob", "10:01", kind="like"), said("s", "bob", "10:01", kind="share")])
    assert not any(found.values())
    assert found["thread_reciprocity"] is None


def test_everything_taken_back_is_as_if_it_had_never_been() -> None:
    before = thread(PLANTED, "host", ACME)
    more = [said("z", "zoe", "10:00"), said("z1", "host", "10:01", "z"), said("z2", "zoe", "10:02", "z1")]
    assert thread([*PLANTED, *more], "host", ACME) != before
    assert thread([*PLANTED, *more, gone("z"), gone("z1"), gone("z2")], "host", ACME) == before


def test_an_answer_that_is_dated_before_its_question() -> None:
    found = thread([said("a", "ann", "10:00"), said("a1", "host", "09:50", "a")])
    assert found["first_response_p50"] == 0.0
    assert found["answered"] == 1


def test_circles_and_gaps_are_no_conversation() -> None:
    found = thread(
        [
            said("a", "ann", "10:00", "b"),
            said("b", "bob", "10:00", "a"),
            said("c", "cat", "10:00", "c"),
            said("d", "dan", "10:00", "no such"),
            said("e", "eve", "10:00"),
        ]
    )
    assert (found["audience_turns"], found["thread_pairs"], found["thread_h_index"]) == (1, 1, 1)


def test_a_share_of_the_same_id_as_a_comment() -> None:
    # `x1` answers the comment, whichever of the two came first.
    events = [said("x", "sam", "10:00", kind="share"), said("x", "ann", "10:00"), said("x1", "host", "10:07", "x")]
    for order in (events, events[::-1]):
        found = thread(order)
        assert found["answered"] == 1
        assert differences(found, true_thread(order, "host", set())) == {}


def test_a_chain_of_answers() -> None:
    people = ("ann", "host")
    chain = [said(f"{n}", people[n % 2], "10:00", f"{n - 1}" if n else None) for n in range(20_000)]
    found = thread(chain)
    assert (found["thread_h_index"], found["thread_pairs"], found["thread_reciprocity"]) == (1, 1, 1.0)
    assert (found["brand_turns"], found["answered"]) == (10_000, 10_000)


def random_thread(dice: random.Random, post_id: str, size: int) -> list[Event]:
    """Comments and shares of a handful of people below each other, some taken back, some without a parent; shuffled."""
    people = ["host", "help", "one", "two", "three", "four", "five"]
    events: list[Event] = []
    for number in range(size):
        kind = dice.choice(("comment", "comment", "comment", "share"))
        to = None if dice.random() < 0.3 else f"{dice.randrange(max(number, 1))}"
        to = "nowhere" if dice.random() < 0.03 else to
        at = MONDAY + timedelta(minutes=dice.randrange(60 * 24 * 9))
        name = f"{number}" if dice.random() < 0.97 else f"{dice.randrange(size)}"
        event = said(name, dice.choice(people), "00:00", to, kind, post_id=post_id, occurred_at=at.isoformat())
        # Of one identity the first counts, so there is one of each.
        if not any((other["event_id"], other["kind"]) == (name, kind) for other in events):
            events.append(event)
    taken_back = dice.sample(events, len(events) // 6)
    events += [{**gone(event["event_id"], event["kind"]), "post_id": post_id} for event in taken_back]
    dice.shuffle(events)
    return events


@pytest.mark.parametrize("seed", range(20))
def test_random_threads_in_any_order(seed: int) -> None:
    dice = random.Random(seed)
    sizes = [0, 1, 2, 5, *(dice.randrange(200) for _ in range(16))]
    threads = {f"p{place}": random_thread(dice, f"p{place}", size) for place, size in enumerate(sizes)}
    authors = [dice.choice(("host", "host", "one", "stranger", None)) for _ in threads]
    for post_id, events in threads.items():
        events.append(said("post", "x", "00:00", kind="like", post_id=post_id))
    hours = BusinessHours("08:30-18:00", "1-4,6", "America/St_Johns")
    brands = brands_of({"a": Brand(side="own", accounts=["help"]), "b": Brand(side="rival", accounts=["one", "two"])})
    fold = Fold(threads=ThreadPolicy(turns_of(brands, HASHER), hours))
    taken: dict[str, list[Event]] = {post_id: [] for post_id in threads}
    waiting = {post_id: iter(events) for post_id, events in threads.items()}
    while waiting:  # the events of all posts, mixed
        post_id = dice.choice(list(waiting))
        some = list(islice(waiting[post_id], dice.randrange(1, 40)))
        if some:
            taken[post_id] += some
            take(fold, some)
        else:
            del waiting[post_id]
        if dice.random() < 0.3:  # looking on the way changes nothing, whoever was thought to be the author
            learn(fold, [dice.choice(authors) for _ in fold.post_ids])
            fold.threads(np.array(dice.sample(range(len(fold)), dice.randrange(len(fold)) + 1)))
        if dice.random() < 0.1:  # nor does it to forget a post and to read it again
            (forgotten,) = fold.forget(np.array([dice.randrange(len(fold))]))
            take(fold, taken[forgotten])
    learn(fold, [authors[int(post_id[1:])] for post_id in fold.post_ids])
    for post_id, found in zip(fold.post_ids, threads_of(fold), strict=True):
        author = authors[int(post_id[1:])]
        accounts = {"help", "one", "two"} if author == "one" else {"help"}
        true = true_thread(threads[post_id], author, accounts, ("08:30", "18:00", {1, 2, 3, 4, 6}, "America/St_Johns"))
        assert differences(found, true) == {}, post_id


def test_a_thread_is_read_again_when_it_changed() -> None:
    fold = Fold(threads=ThreadPolicy(turns_of(ACME, HASHER)))
    take(fold, PLANTED[:-1])
    for author, brand in (("host", {"support"}), ("host2", {"support", "host2", "bob"}), (None, {"support"})):
        learn(fold, [author])
        assert differences(threads_of(fold)[0], true_thread(PLANTED, author, brand)) == {}
    learn(fold, ["host"])
    late = [gone("b1"), said("n", "new", "15:00"), said("n1", "host", "15:01", "n"), gone("s", kind="share")]
    for number, event in enumerate(late, 1):
        take(fold, [event])
        assert differences(threads_of(fold)[0], true_thread([*PLANTED, *late[:number]], "host", {"support"})) == {}
