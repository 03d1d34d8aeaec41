"""Names leave the spikes of conversations that stay; the spikes of conversations that leave go with these."""

from typing import Any

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.erasure.deletion import Deletion
from processors.erasure.others import NamingRows
from processors.erasure.people import People
from processors.erasure.tombstones import Eraser

WHO = "did:plc:forgotten7xyz"


def spike(spike_id: str, conversation: str, posts: list[str], urls: list[str], **more: Any) -> dict[str, Any]:
    return {
        "spike_id": spike_id,
        "conversation": conversation,
        "started_at": 60,
        "as_of": 120,
        "state": "opened",
        "top_posts": posts,
        "top_counts": [5] * len(posts),
        "top_urls": urls,
        "top_authors": [],
        "version": 1,
        **more,
    }


def test_spikes_lose_the_names_and_keep_what_names_nobody(tables: Settings) -> None:
    rows = [
        # An array of one empty text is stored as an empty array: the address of the only post is not known.
        spike("no-address", "hashtag:a", ["kept"], [""]),
        spike("theirs-alone", "hashtag:b", ["theirs"], ["https://example.com/theirs"]),
        spike("mixed", "hashtag:c", ["theirs", "kept"], ["https://example.com/theirs", ""]),
        spike("author", "hashtag:d", ["kept"], ["https://kept"], top_authors=[f"author:x/{WHO}", "author:x/bob"]),
        spike("leaves", f"author:x/{WHO}", ["theirs"], [""]),
        spike("thread", "thread:theirs", ["theirs"], [""]),
    ]
    with ClickHouse(tables) as client:
        client.insert(
            "conversation_spikes",
            {name: [row[name] for row in rows] for name in spike("", "", [], [])}
            | {"top_authors": [row["top_authors"] for row in rows]},
        )
        deletion = Deletion(client, tables)
        deletion.begin()
        eraser = Eraser(People.of([WHO], None), {"theirs"}, {"https://example.com/theirs"}, lambda text: text, 1)
        changed = NamingRows(client, deletion, eraser).erase_spikes([f"author:x/{WHO}"])
        again = NamingRows(client, deletion, eraser).erase_spikes([f"author:x/{WHO}"])
        deletion.end()
        found = client.select(
            "SELECT spike_id, top_posts, top_counts, top_urls, top_authors FROM conversation_spikes ORDER BY spike_id"
        )
    assert (changed, again) == (5, 3)
    assert list(zip(*found, strict=True)) == [
        ("author", ["kept"], [5], ["https://kept"], ["author:x/bob"]),
        ("mixed", ["kept"], [5], [], []),
        ("no-address", ["kept"], [5], [], []),
        ("theirs-alone", [], [], [], []),
    ]
