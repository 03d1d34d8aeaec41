"""docs/bi.md: each of its questions against plain Python over seeded events, and its traps, on a real server."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import combinations
from pathlib import Path
from statistics import mean, median, median_low
from typing import Any, Final

import pytest

from pipeline.settings import Settings
from tests.bi.seeding import AUTHORS, DAY, MINUTE, TAGS, WEIGHTS, Past, Rows, Said, fill_with_past

GUIDE: Final = (Path(__file__).parent.parent / "docs/bi.md").read_text()
QUESTIONS: Final = dict(re.findall(r"^```sql\n-- ([^:,\n]+).*?\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def past(tables: Settings, tmp_path: Path) -> Iterator[Past]:
    past = fill_with_past(tables, tmp_path)
    yield past
    past.client.close()


def best_hour(past: Past) -> Rows:
    counts = defaultdict[int, list[int]](list)
    for post in past.posts(28, 1):
        counts[post["at"].hour].append(len(past.under(post)))
    rows = [(hour, len(found), mean(found)) for hour, found in counts.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def growing_hashtag(past: Past) -> Rows:
    spoken = _spoken(past, "hashtag:", {tag: tag for tag in TAGS})
    rows = []
    for key, counts in spoken.items():
        last = sum(count for at, count in counts if at >= past.since(1))
        before = sum(count for at, count in counts if past.since(2) <= at < past.since(1))
        if last + before:
            rows.append((key, last, before, (last - before) / (last + before) ** 0.5))
    return sorted(rows, key=lambda row: (-row[3], row[0]))[:10]


def _spoken(past: Past, prefix: str, names: dict[str, str]) -> dict[str, list[tuple[datetime, int]]]:
    """Returns key -> times and counts of posts with a hashtag and of comments under them, -1 where a comment is taken
    back, which may be on another day; `names`: hashtag -> name in the key."""
    spoken = defaultdict[str, list[tuple[datetime, int]]](list)
    for post in past.posts(28):
        comments = [each for each in past.events if each["kind"] == "comment" and each["post_id"] == post["post_id"]]
        counts = [(each["at"], -1 if "target_id" in each else 1) for each in comments]
        for tag in set(post["hashtags"]) & names.keys():
            spoken[prefix + names[tag]] += [(post["at"], 1), *counts]
    return spoken


def response_time(past: Past) -> Rows:
    answers, waiting, medians = Counter[str](), Counter[str](), defaultdict[str, list[float]](list)
    for post in (each for each in past.events if each["kind"] == "post" and "target_id" not in each):
        author, comments = post["actor_id"], past.under(post, "comment")
        waits = []
        for asked in (each for each in comments if each["actor_id"] != author):
            replies = [e["at"] for e in comments if e.get("parent_id") == asked["event_id"] and e["actor_id"] == author]
            answers[author] += bool(replies)
            waiting[author] += not replies
            waits += [(min(replies) - asked["at"]) / MINUTE] if replies else []
        medians[author] += [median(waits)] * len(waits) if waits else []
    rows = [(author, answers[author], waiting[author], median_low(medians[author])) for author in answers]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def share_of_voice(past: Past) -> Rows:
    spoken = _spoken(past, "brand:", {"acme": "acme", "globex": "globex"})
    counts, days = Counter[tuple[Any, str]](), Counter[Any]()
    for key, found in spoken.items():
        for at, count in found:
            if at.date() > past.since(14).date():
                counts[at.date(), key] += count
                days[at.date()] += count
    rows = [(day, key, count, count / days[day]) for (day, key), count in counts.items() if count > 0]
    return sorted(rows, key=lambda row: (row[0], -row[2], row[1]))


def two_campaigns(past: Past) -> Rows:
    rows = []
    for campaign in ("autumn", "spring"):
        posts = [post for post in past.posts(28) if post["labels"].get("campaign") == campaign]
        of_each = [mean(len(past.under(post, kind)) for post in posts) for kind in WEIGHTS]
        rows.append((campaign, len(posts), *of_each, len({post["channel"] for post in posts})))
    return rows


def cross_posting(past: Past) -> Rows:
    carrying = defaultdict[str, list[Said]](list)
    for post in past.posts(28):
        for link in post["links"]:
            carrying[link].append(post)
    moved = defaultdict[tuple[str, str], list[tuple[str, float, int]]](list)
    for link, posts in carrying.items():
        origin = min(posts, key=lambda post: (post["at"], post["post_id"]))
        for post in posts:
            if post["channel"] != origin["channel"]:
                lag = (post["at"] - origin["at"]).total_seconds()
                moved[origin["channel"], post["channel"]].append((link, lag, len(past.under(post))))
    rows = [
        (
            *ends,
            len({link for link, _, _ in found}),
            _exact([lag for _, lag, _ in found], 0.5) / 60,
            sum(f[2] for f in found),
        )
        for ends, found in moved.items()
    ]
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))


def half_life(past: Past) -> Rows:
    ages = defaultdict[str, list[float]](list)
    for post in (each for each in past.events if each["kind"] == "post" and "target_id" not in each):
        if past.since(28) <= post["at"] < past.since(1):
            found = past.under(post)
            ages[post["channel"]].append((found[(len(found) + 1) // 2 - 1]["at"] - post["at"]) / MINUTE)
    rows = [(channel, len(found), _exact(found, 0.5)) for channel, found in ages.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def per_1000_followers(past: Past) -> Rows:
    engaged, reached, posts = Counter[str](), Counter[str](), Counter[str]()
    for post in past.posts(28):
        if post.get("followers", 0) >= 100:
            posts[post["channel"]] += 1
            engaged[post["channel"]] += len(past.under(post))
            reached[post["channel"]] += post["followers"]
    rows = [(channel, posts[channel], 1000 * engaged[channel] / reached[channel]) for channel in posts]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def engagement_per_day(past: Past) -> Rows:
    counts = defaultdict[tuple[Any, str], Counter[str]](Counter)
    for each in past.events:
        if each["kind"] != "post" and each["at"].date() > past.since(7).date():
            counts[each["at"].date(), each["channel"]][each["kind"]] += -1 if "target_id" in each else 1
    return [(*key, *(found[kind] for kind in WEIGHTS)) for key, found in sorted(counts.items())]


def voices_of_hashtag(past: Past) -> Rows:
    posts = {post["post_id"] for post in past.posts(28) if "launch" in post["hashtags"]}
    days = defaultdict[str, set[Any]](set)
    for each in past.events:
        if each["post_id"] in posts and each["kind"] != "like" and "target_id" not in each:
            days[each["actor_id"]].add(each["at"].date())
    spoken = Counter((day, day == min(found)) for found in days.values() for day in found)
    return [(day, spoken[day, True], spoken[day, False]) for day in sorted({day for day, _ in spoken})]


def most_active(past: Past) -> Rows:
    acts = [each for each in past.standing("share", "comment") if each["at"] >= past.since(7)]
    rows = []
    for actor in {each["actor_id"] for each in acts}:
        found = [each for each in acts if each["actor_id"] == actor]
        comments = sum(each["kind"] == "comment" for each in found)
        rows.append((actor, len(found), comments, len({each["post_id"] for each in found})))
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:20]


def came_back(past: Past) -> Rows:
    times = defaultdict[str, list[datetime]](list)
    for each in past.events:
        if each["kind"] == "comment" and "target_id" not in each and each["at"] >= past.since(14):
            times[each["actor_id"]].append(each["at"])
    before = {actor for actor, found in times.items() if min(found) < past.since(7)}
    back = sum(max(times[actor]) >= past.since(7) for actor in before)
    return [(len(before), back, back / len(before))]


def tags_together(past: Past) -> Rows:
    pairs = Counter(
        (f"hashtag:{first}", f"hashtag:{second}")
        for post in past.posts(28)
        for first, second in combinations(sorted(set(post["hashtags"])), 2)
    )
    rows = [(*pair, count) for pair, count in pairs.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))[:20]


def how_long_posts_live(past: Past) -> Rows:
    hours = defaultdict[str, list[float]](list)
    for post in past.posts(14, 7):
        found = past.under(post)
        enough = next(each for number, each in enumerate(found, 1) if number >= 0.9 * len(found))
        hours[post["channel"]].append((enough["at"] - post["at"]) / MINUTE / 60)
    rows = [(channel, len(found), _exact(found, 0.5), _exact(found, 0.9)) for channel, found in hours.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def against_usual(past: Past) -> Rows:
    """Compares with the mean of the middle half of the author's earlier posts, at least ten of them (CrowdTangle)."""
    rows = []
    for author, channel in AUTHORS.items():
        posts = sorted((p for p in past.posts(28) if p["actor_id"] == author), key=lambda p: (p["at"], p["post_id"]))
        scores = [sum(WEIGHTS[e["kind"]] for e in past.under(p) if e["at"] < p["at"] + DAY) for p in posts]
        for number, (post, score) in enumerate(zip(posts, scores, strict=True)):
            earlier = sorted(scores[:number])
            if number >= 10 and past.since(8) <= post["at"] <= past.since(1):
                usual = mean(earlier[number // 4 : number - number // 4])
                factor = score / usual if score >= usual else -usual / score
                rows.append((post["post_id"], author, channel, float(score), usual, factor))
    return sorted(rows, key=lambda row: (-row[5], row[0]))[:20]


def _exact(values: list[float], level: float) -> float:
    """Returns the quantile as quantileExact has it: the value with as many smaller ones, the upper one of two."""
    return sorted(values)[min(int(level * len(values)), len(values) - 1)]


TRUTHS: Final[dict[str, Callable[[Past], Rows]]] = {
    "Best hour to post": best_hour,
    "Fastest growing hashtag": growing_hashtag,
    "Response time by author": response_time,
    "Share of voice by day": share_of_voice,
    "Two campaigns": two_campaigns,
    "Cross-posting": cross_posting,
    "Half-life by channel": half_life,
    "Per 1": per_1000_followers,
    "Engagement per day and channel": engagement_per_day,
    "New and returning voices of a hashtag": voices_of_hashtag,
    "Most active voices": most_active,
    "Commenters who came back": came_back,
    "Hashtags used together": tags_together,
    "How long posts live": how_long_posts_live,
    "Top posts this week against usual": against_usual,
}


def test_every_question_of_the_guide_is_answered_as_plain_python_does(past: Past) -> None:
    assert QUESTIONS.keys() == TRUTHS.keys()
    wrong = {}
    for title, truth in TRUTHS.items():
        answer = list(zip(*past.client.select(QUESTIONS[title]), strict=True))
        expected = truth(past)
        assert expected, f"{title}: the seeded events say nothing about it"
        if not _alike(answer, expected):
            wrong[title] = (answer[:5], expected[:5])
    assert not wrong


def _alike(answer: Rows, expected: Rows) -> bool:
    return len(answer) == len(expected) and all(
        len(one) == len(other)
        and all(
            value == pytest.approx(wanted, rel=1e-9) if isinstance(wanted, float) else value == wanted
            for value, wanted in zip(one, other, strict=True)
        )
        for one, other in zip(answer, expected, strict=True)
    )


def test_a_bucket_that_is_called_like_its_column_loses_rows_and_the_column_hour_does_not(past: Past) -> None:
    since = past.since(3).replace(minute=30)
    shown = f"toDateTime({int(since.timestamp())}, 'UTC')"
    likes = Counter[datetime]()
    for each in past.events:
        if each["kind"] == "like" and "target_id" not in each and each["at"] >= since:
            likes[each["at"].replace(minute=0)] += 1
    everything = f"FROM post_minutes_v WHERE minute >= {shown} GROUP BY 1 HAVING likes_in > 0 ORDER BY 1"
    hours, counts = past.client.select(f"SELECT hour, sum(likes) AS likes_in {everything}")
    assert dict(zip(hours, counts, strict=True)) == likes
    [*_, counts] = past.client.select(f"SELECT toStartOfHour(minute) AS minute, sum(likes) AS likes_in {everything}")
    lost = likes[since.replace(minute=0)]
    assert sum(counts) == likes.total() - lost, "if ClickHouse has mended this, docs/bi.md need not warn of it"


def test_a_sum_within_a_kind_counts_a_post_once(past: Past) -> None:
    sums = dict(
        zip(*past.client.select("SELECT kind, sum(posts) FROM conversation_minutes_v GROUP BY kind"), strict=True)
    )
    posts = past.posts(28)
    assert sums["author"] == sums["thread"] == len(posts)
    assert sums["hashtag"] == sum(len(post["hashtags"]) for post in posts) > len(posts)
