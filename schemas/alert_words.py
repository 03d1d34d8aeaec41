"""The words in which spikes are told to people: numbers, rates, times and names. Pure.

Rows, messages and receivers share these words, so that one alert says one thing everywhere. Text of strangers (names,
ids, addresses) passes `plain_line` and `web_link` before a receiver gets the text.
"""

import math
import unicodedata
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

from schemas.alerts import SpikeAlert

SIGNIFICANT_DIGITS: Final = 3
SMALLEST_WRITTEN: Final = 0.001
"""Numbers below are written as `less than 0.001`: more zeros say nothing to a reader."""

RATE_UNITS: Final = ((0.1, 1.0, "a minute"), (1 / 60, 60.0, "an hour"), (0.0, 1440.0, "a day"))
"""The least rate a minute that is told in a unit, the factor of the unit, its name."""

COUNTED_IN_OTHERS: Final = "comments and posts"
COUNTED_IN_THREAD: Final = "comments"

DIRECTIONS: Final = frozenset(
    map(chr, (0x061C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF))
)
"""Invisible characters that hide or reorder the text around them."""

BLANKED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that break a line, a header or a terminal."""

LINK_SAFE: Final = "/:?#[]@!$&()*+,;=%~"
"""Characters of an address that keep their meaning; all others are percent-encoded."""


def in_digits(value: float) -> str:
    """Writes a number as people do: three significant digits, thousands separated, no exponent.

    >>> [in_digits(value) for value in (0, 4.18e-08, 0.0304, 8, 8.0625, 131.4, 8640, 143_415_417.1)]
    ['0', 'less than 0.001', '0.0304', '8', '8.06', '131', '8,640', '143,000,000']
    """
    if not math.isfinite(value):
        return "an unknown number"
    if value == 0:
        return "0"
    if abs(value) < SMALLEST_WRITTEN:
        return f"less than {SMALLEST_WRITTEN}"
    places = SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value)))
    text = f"{round(value, places):,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rate_in_words(per_minute: float) -> str:
    """Writes a rate in a unit in which people can imagine the rate.

    >>> [rate_in_words(rate) for rate in (131.2, 0.5, 0.05, 0.002)]
    ['131 a minute', '0.5 a minute', '3 an hour', '2.88 a day']
    """
    factor, unit = next((factor, unit) for least, factor, unit in RATE_UNITS if per_minute >= least)
    return f"{in_digits(per_minute * factor)} {unit}"


def people_in_words(people: float) -> str:
    """Writes a mean number of people as a whole number, because nobody has seen a tenth of a person.

    >>> [people_in_words(people) for people in (0, 0.0938, 1.2, 29.6, 12_345.6)]
    ['none', 'fewer than 1', '1', '30', '12,346']
    """
    if people <= 0:
        return "none"
    return "fewer than 1" if people < 1 else f"{round(people):,}"


def usual_in_words(alert: SpikeAlert) -> str:
    """Writes what is usual for the conversation: a rate, or that there is none and what was seen before."""
    if alert["ratio"] is not None:
        return f"usually {rate_in_words(alert['expected'])}"
    return f"usually none{_seen_before(alert['seen_before'], alert['seen_days'])}"


def comparison_in_words(alert: SpikeAlert) -> str:
    """Writes how the observed rate compares with the usual one."""
    if alert["ratio"] is None:
        return usual_in_words(alert)
    return f"{in_digits(alert['ratio'])} times the usual {rate_in_words(alert['expected'])}"


def count_in_words(alert: SpikeAlert) -> str:
    """Writes the count and the minutes in which it was counted, with their zone."""
    count = round(alert["observed"] * alert["scale_minutes"])
    minutes = minutes_in_words(alert["scale_minutes"])
    return (
        f"{count:,} {counted_in(alert['conversation'], count)} in the {minutes} up to {clock(alert['counted_until'])}"
    )


def counted_in(conversation: str, count: float = 2) -> str:
    """Names what is counted in a conversation.

    >>> counted_in("thread:p1"), counted_in("thread:p1", 1), counted_in("hashtag:acme")
    ('comments', 'comment', 'comments and posts')
    """
    if conversation.startswith("thread:"):
        return "comment" if count == 1 else COUNTED_IN_THREAD
    return COUNTED_IN_OTHERS


def minutes_in_words(minutes: int) -> str:
    """Writes a span of minutes.

    >>> [minutes_in_words(minutes) for minutes in (1, 5, 60, 240)]
    ['minute', '5 minutes', 'hour', '4 hours']
    """
    number, unit = (minutes // 60, "hour") if minutes % 60 == 0 else (minutes, "minute")
    return unit if number == 1 else f"{number:,} {unit}s"


def with_article(span: str) -> str:
    """Writes a span with the article of a single one.

    >>> with_article("hour"), with_article("minute"), with_article("5 minutes")
    ('an hour', 'a minute', '5 minutes')
    """
    return span if span[0].isdigit() else f"an {span}" if span.startswith("hour") else f"a {span}"


def clock(at: datetime) -> str:
    """Writes a time to the minute, in UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def name_of(conversation: str) -> str:
    """Names a conversation as people do.

    >>> [name_of(key) for key in ("hashtag:acme", "mention:bob", "brand:acme", "label:team=red")]
    ['#acme', '@bob', 'the brand acme', 'the label team=red']
    >>> name_of("author:bluesky/ana"), name_of("thread:p1")
    ('posts by ana on bluesky', 'the thread of post p1')
    """
    kind, _, name = plain_line(conversation).partition(":")
    if kind == "author":
        channel, _, author = name.partition("/")
        return f"posts by {author} on {channel}" if author else f"posts by {name}"
    forms = {"hashtag": "#{}", "mention": "@{}", "thread": "the thread of post {}", "brand": "the brand {}"}
    return forms.get(kind, f"the {kind} {{}}" if name else kind).replace("{}", name)


def names_in_words(conversations: list[str], most: int = 20) -> str:
    """Names several conversations in a row, and says how many more there are.

    >>> names_in_words(["hashtag:acme", "brand:acme", "thread:p1"])
    '#acme, the brand acme and the thread of post p1'
    """
    names = [name_of(conversation) for conversation in conversations[:most]]
    if (more := len(conversations) - len(names)) > 0:
        names.append(f"{more:,} more")
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def plain_line(text: str) -> str:
    """Returns a stranger's text on one line, without control characters and characters of invisible effect.

    >>> plain_line("acme\\r\\nBcc: all\\x00\\u202e!")
    'acme Bcc: all !'
    """
    plain = "".join(
        " " if unicodedata.category(sign) in BLANKED else "" if sign in DIRECTIONS else sign for sign in text
    )
    return " ".join(plain.split())


def web_link(address: str) -> str | None:
    """Returns an http or https address that any receiver can show as a link, None for any other address.

    >>> web_link("https://example.org/a b|c>d"), web_link("javascript:alert(1)")
    ('https://example.org/a%20b%7Cc%3Ed', None)
    """
    try:
        parts = urlsplit(address.strip())
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    if not is_web or any(unicodedata.category(sign) in BLANKED for sign in address.strip()):
        return None
    return quote(address.strip(), safe=LINK_SAFE, errors="replace")


def _seen_before(count: int | None, days: float | None) -> str:
    if count is None or days is None:
        return ""
    if count == 0:
        return f": none in the {in_digits(round(days))} days before"
    number, unit = (round(days), "day") if round(days) >= 1 else (max(1, round(days * 24)), "hour")
    return f": {count:,} in the last " + (unit if number == 1 else f"{number:,} {unit}s")
