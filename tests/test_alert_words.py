"""What an alert says to a person: one base and one ratio everywhere, words for none, units, times with their zone, and
numbers as people write them. Each expected text was written by hand."""

import json
import re
import unicodedata
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from processors.alerts.ports import Notice
from processors.alerts.receivers.alertmanager import alertmanager_message
from processors.alerts.receivers.email_message import spike_email
from processors.alerts.receivers.settings import Sender
from processors.alerts.receivers.slack_blocks import slack_content
from processors.alerts.receivers.webhook import webhook_message
from processors.alerts.receivers.wording import Links, headline, reasons_of
from processors.spikes.alert_message import alert_of
from processors.spikes.detection.life import RANKS, Change
from processors.spikes.ports import Evidence
from schemas.alert_words import in_digits, plain_line, web_link
from schemas.alerts import SpikeAlert
from tests.fakes_alerts import T0, spike

MINUTE = 29_000_000
"""2025-02-19 21:20 UTC."""

NUMBER = re.compile(r"(?<![\w./-])\d[\d,]*(?:\.\d+)?")


def alert_for(
    conversation: str = "hashtag:acme",
    state: Any = "opened",
    per_minute: float = 131.0,
    usual: float = 10.0,
    **other: Any,
) -> SpikeAlert:
    """The alert of a spike over the five minutes from 21:20, made as the conversation agent does."""
    change = Change(
        "5f",
        conversation,
        state,
        MINUTE,
        MINUTE + 40 if state == "resolved" else None,
        MINUTE + (55 if state == "resolved" else 5),
        RANKS[state],
        2.0,
        usual,
        5,
        MINUTE + 5,
        ("60 or more in 5 minutes stand out here",),
    )
    evidence = Evidence(
        per_minute, round(5 * per_minute), 20, 400, 30.0, 2, 1.0, ("p1",), ("author:bluesky/ana",), "SELECT 1"
    )
    return alert_of(change, evidence._replace(**other))


SAID = {
    "hashtag:acme": "#acme spikes: 131 comments and posts a minute, 13.1 times the usual 10 a minute",
    "mention:bob": "@bob spikes: 131 comments and posts a minute, 13.1 times the usual 10 a minute",
    "brand:acme": "the brand acme spikes: 131 comments and posts a minute, 13.1 times the usual 10 a minute",
    "author:bluesky/ana": "posts by ana on bluesky spike: 131 comments and posts a minute, "
    "13.1 times the usual 10 a minute",
    "thread:p1": "the thread of post p1 spikes: 131 comments a minute, 13.1 times the usual 10 a minute",
    "label:team=red": "the label team=red spikes: 131 comments and posts a minute, 13.1 times the usual 10 a minute",
}


@pytest.mark.parametrize("conversation", SAID)
def test_every_kind_of_conversation_is_named_with_level_unit_and_usual(conversation: str) -> None:
    alert = alert_for(conversation)
    assert headline(alert) == SAID[conversation]
    counted = "655 comments" if conversation.startswith("thread:") else "655 comments and posts"
    assert alert["reasons"][0] == f"{counted} in the 5 minutes up to 2025-02-19 21:25 UTC, usually 10 a minute"


def test_growth_an_end_and_a_group_are_told_in_words() -> None:
    assert headline(alert_for(state="grown")).startswith("#acme has grown: 131 comments and posts a minute, 13.1 times")
    ended = headline(alert_for(state="resolved"))
    assert ended == (
        "#acme no longer spikes: at its height 131 comments and posts a minute, 13.1 times the usual 10 a minute"
    )
    names = ["hashtag:acme", "brand:acme", "thread:p1", "author:bluesky/ana"]
    many = alert_for(state="resolved") | {"conversations": names}
    assert headline(many).startswith("#acme, the brand acme and 2 more no longer spike: at their height 131 ")  # type: ignore[arg-type]
    named = "the brand acme, the thread of post p1 and posts by ana on bluesky"
    assert reasons_of(many)[-1].startswith(f"the same posts made {named} spike;")  # type: ignore[arg-type]
    group = alert_for() | {"conversations": ["hashtag:acme", "brand:acme", "author:bluesky/ana"]}
    assert headline(group).startswith("#acme, the brand acme and posts by ana on bluesky spike: 131 ")  # type: ignore[arg-type]
    assert reasons_of(group)[-1] == (  # type: ignore[arg-type]
        "the same posts made the brand acme and posts by ana on bluesky spike; the numbers are those of #acme"
    )


@pytest.mark.parametrize(
    ("before", "days", "said"),
    [
        (2, 27.0, "usually none: 2 in the last 27 days"),
        (1, 0.9, "usually none: 1 in the last day"),
        (3, 0.25, "usually none: 3 in the last 6 hours"),
        (0, 28.0, "usually none: none in the 28 days before"),
        (None, None, "usually none"),
    ],
)
def test_none_is_said_in_words_and_is_null_for_machines(before: int | None, days: float | None, said: str) -> None:
    alert = alert_for(per_minute=8.0, usual=4.18e-08, seen_before=before, seen_days=days)
    assert alert["ratio"] is None
    assert headline(alert) == f"#acme spikes: 8 comments and posts a minute, {said}"
    assert alert["reasons"][0] == f"40 comments and posts in the 5 minutes up to 2025-02-19 21:25 UTC, {said}"


@pytest.mark.parametrize(
    ("usual", "said"),
    [
        (0.05, "2,620 times the usual 3 an hour"),
        (1 / 1440, "189,000 times the usual 1 a day"),
        (0.0069, "the usual 9.94 a day"),
    ],
)
def test_a_small_usual_is_told_in_a_unit_that_people_can_count(usual: float, said: str) -> None:
    assert headline(alert_for(usual=usual)).endswith(said)


def messages(alert: SpikeAlert) -> list[str]:
    """Returns all texts for people, of each receiver."""
    notice = Notice(alert, None)
    [posted] = json.loads(alertmanager_message(notice, T0, 900, Links()).body)
    slack = slack_content(notice, Links())
    texts = [slack["text"]]
    for block in slack["blocks"]:
        texts += [
            part["text"] for part in (block.get("text"), *block.get("fields", []), *block.get("elements", [])) if part
        ]
    event = json.loads(webhook_message(notice, T0, Sender("engagement", Links()), None).body)
    mail = spike_email(notice, T0, "a@team.example", ["b@team.example"], Links())
    texts += [part.get_content() for part in mail.walk() if part.get_content_type() == "text/plain"]
    annotations = {name: text for name, text in posted["annotations"].items() if name not in ("evidence", "detector")}
    return [*annotations.values(), *texts, event["summary"], *event["data"]["reasons"]]


def test_one_ratio_and_one_usual_everywhere_and_no_exponent_whatever_the_numbers() -> None:
    rng = Random(3)
    for _ in range(300):
        usual = 10 ** rng.uniform(-9, 5)
        per_minute = max(usual * 10 ** rng.uniform(0.1, 3), 2.0)
        alert = alert_for(per_minute=per_minute, usual=usual, seen_before=2, seen_days=27.0)
        texts = "\n".join(messages(alert))
        assert not re.search(r"\d[eE][+-]?\d", texts), texts
        assert not re.search(r"(?<![\w.])\d{5,}(?![\w])", texts), "thousands are separated"
        times = set(re.findall(r"([\d.,]+) times the usual ([\d.,]+ \w+ \w+)", texts))
        usuals = set(re.findall(r"usually ([\d.,]+ an? \w+)", texts))
        assert len(times) == (alert["ratio"] is not None)
        assert usuals == {usual for _, usual in times}
        assert ("usually none: 2 in the last 27 days" in texts) is (alert["ratio"] is None)
        for ratio, _ in times:
            assert float(ratio.replace(",", "")) == pytest.approx(per_minute / usual, rel=6e-3)
            assert len(ratio.replace(",", "").replace(".", "").strip("0")) <= 3, "three significant digits"


def test_digits_are_those_of_the_number() -> None:
    rng = Random(1)
    for _ in range(2000):
        value = 10 ** rng.uniform(-2.9, 12)
        text = in_digits(value)
        assert re.fullmatch(r"\d{1,3}(,\d{3})*(\.\d+)?", text)
        assert float(text.replace(",", "")) == pytest.approx(value, rel=5.1e-3)
    assert [in_digits(value) for value in (999.6, 0.9996, 99.95, -1234.5)] == ["1,000", "1", "100", "-1,230"]


# ---------------------------------------------------------------- what strangers wrote

NASTY = "a\r\nBcc: all\x00\x1b[31m\u2028b\u202ec\x85"


def test_no_control_character_of_an_id_reaches_a_receiver() -> None:
    nasty = spike(
        f"5{NASTY}",
        conversation=f"hashtag:{NASTY}",
        reasons=[NASTY],
        top_posts=[NASTY, "p"],
        top_urls=[f"https://example.org/{NASTY}", "ftp://example.org/"],
        top_authors=[f"author:x/{NASTY}"],
    )
    nasty["conversations"] = [f"hashtag:{NASTY}", f"brand:{NASTY}"]
    [posted] = json.loads(
        alertmanager_message(Notice(nasty, None), T0, 900, Links("https://g.example/{conversation}/{post}")).body
    )
    for name, text in posted["labels"].items():
        assert not _controls(text), name
    for name, text in posted["annotations"].items():
        assert not _controls(text.replace("\n", "")), name
    assert posted["annotations"]["top_posts"].split("\n") == [plain_line(NASTY), "p"]
    assert not _controls(posted["generatorURL"])
    links = Links("https://g.example/{conversation}")
    slack = json.dumps(slack_content(Notice(nasty, None), links), ensure_ascii=False)
    assert not _controls(slack.replace("\\n", ""))
    mail = spike_email(Notice(nasty, None), T0, "a@team.example", ["b@team.example"], links)
    for part in mail.walk():
        if not part.is_multipart():
            assert not _controls(part.get_content().replace("\n", "").replace("\r", ""))
    assert "<https://example.org" not in slack
    event = json.loads(webhook_message(Notice(nasty, None), T0, Sender("engagement", Links()), None).body)
    assert not _controls(event["subject"] + event["summary"])


def _controls(text: str) -> list[str]:
    return [sign for sign in text if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or sign == "\u202e"]


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://bsky.app/profile/ana/post/3k", "https://bsky.app/profile/ana/post/3k"),
        ("http://example.org/?a=1&b=%20#c", "http://example.org/?a=1&b=%20#c"),
        ("https://example.org/é", "https://example.org/%C3%A9"),
        ("https://example.org/<b>|c", "https://example.org/%3Cb%3E%7Cc"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("https://", None),
        ("https://a\nb", None),
        ("https://[", None),
        ("", None),
    ],
)
def test_only_web_addresses_are_links(address: str, link: str | None) -> None:
    assert web_link(address) == link


def test_a_time_says_its_zone_and_a_post_its_address() -> None:
    alert = spike(started_at=datetime.fromisoformat("2026-03-01T11:59:00+00:00"))
    [posted] = json.loads(alertmanager_message(Notice(alert, None), T0, 900, Links()).body)
    assert posted["annotations"]["since"] == "2026-03-01 11:59 UTC"
    assert posted["annotations"]["until"] == "it goes on"
    assert posted["annotations"]["top_posts"] == "p-1 https://example.org/p-1\np-2"
    over = spike(state="resolved", minute=30) | {"ended_at": alert["started_at"] + timedelta(minutes=9)}
    [posted] = json.loads(alertmanager_message(Notice(over, None), T0, 900, Links()).body)  # type: ignore[arg-type]
    assert posted["annotations"]["until"] == "2026-03-01 12:08 UTC"
