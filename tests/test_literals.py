"""Text in SQL that people paste: the real ClickHouse reads it as the text that it was, and so do people."""

from collections.abc import Iterator
from html import unescape
from typing import Final

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.literals import string_literal
from pipeline.settings import Settings
from processors.alerts.ports import Notice
from processors.alerts.receivers.slack_blocks import SECTION_LIMIT, slack_content
from processors.alerts.receivers.wording import Links
from processors.spikes.evidence_queries import evidence_sql
from tests.fakes_alerts import spike
from tests.hostile_names import HOSTILE

MINUTE: Final = 29_453_760


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    """A minute of each conversation with a hostile name; each has another count."""
    columns = {
        "conversation": list(HOSTILE),
        "minute": [MINUTE * 60] * len(HOSTILE),
        "post_id": ["p"] * len(HOSTILE),
        "comments": list(range(1, len(HOSTILE) + 1)),
        "version": [1] * len(HOSTILE),
    }
    with ClickHouse(tables) as client:
        client.insert("conversation_posts", columns)
        yield client


@pytest.mark.parametrize("text", HOSTILE)
def test_a_literal_hides_nothing(text: str) -> None:
    literal = string_literal(text)
    assert literal.isprintable()
    assert "`" not in literal


@pytest.mark.stack
def test_clickhouse_reads_the_text_that_it_was(client: ClickHouse) -> None:
    for text in HOSTILE:
        assert client.select(f"SELECT {string_literal(text)}, 1") == [[text], [1]]


@pytest.mark.stack
def test_evidence_proves_the_count_of_exactly_that_conversation(client: ClickHouse, tables: Settings) -> None:
    """As the alert has it, and as it is copied from Slack."""
    for count, conversation in enumerate(HOSTILE, 1):
        evidence = evidence_sql(tables.clickhouse_url.database, conversation, MINUTE + 1, 1)
        assert client.select(evidence) == [[count]], conversation[:80]
        if len(evidence) < SECTION_LIMIT - 100:
            assert client.select(_copied_from_slack(evidence)) == [[count]], conversation[:80]


@pytest.mark.stack
def test_slack_keeps_in_a_literal_what_an_older_version_wrote(client: ClickHouse) -> None:
    """Three backticks, which would end the block of code in Slack, once became three quotes, which end the literal."""
    conversation = "x``` UNION ALL SELECT 6 -- ```"
    assert client.select(_copied_from_slack(f"SELECT '{conversation}'")) == [[conversation]]


def _copied_from_slack(evidence: str) -> str:
    message = slack_content(Notice(spike(evidence=evidence), "x"), Links())
    [fenced] = [b["text"]["text"] for b in message["blocks"] if b.get("text", {}).get("text", "").startswith("```")]
    before, copied, after = fenced.split("```")
    assert before == after == ""
    return unescape(copied)
