"""The facts of active posts, copied as the server does by its clock, when a test wants it."""

from pipeline.clickhouse.client import ClickHouse
from processors.erasure.posts import COPYING_VIEW


def copy_facts(client: ClickHouse) -> None:
    """Refreshes the view that copies facts into posts_active, and waits for its end."""
    for done in ("REFRESH", "WAIT"):
        client.execute(f"SYSTEM {done} VIEW {COPYING_VIEW}")
