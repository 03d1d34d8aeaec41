"""Prints the SQL of the views, drafted from schemas/: what a new migration starts from. Run by people and by a test.

python deploy/clickhouse/draft_views.py > deploy/clickhouse/migrations/NNNN_views.sql
"""

from typing import Final

from deploy.clickhouse.drafting import any_count, plain_view
from deploy.clickhouse.views_of_authors import authors_view
from deploy.clickhouse.views_of_conversations import (
    conversations_view,
    share_of_voice_between_view,
    share_of_voice_view,
)
from deploy.clickhouse.views_of_messages import carry_over_view
from deploy.clickhouse.views_of_performance import over_performance_of_author_view, over_performance_view
from deploy.clickhouse.views_of_posts import metrics_at_view, post_history_view, post_metrics_view
from schemas.tables import CARRY_OVER, POST_HISTORY, POST_METRICS, POST_MINUTES, TABLES, Table

HEAD: Final = """\
-- Views for people and BI tools: current rows only, plain types, a comment on every column.
-- Drafted by deploy/clickhouse/draft_views.py.
"""


def draft() -> str:
    """The whole file: a view beside each table, then those that are computed from several."""
    return "\n".join(
        [
            HEAD,
            *map(_beside, TABLES),
            metrics_at_view(),
            authors_view(),
            over_performance_view(),
            over_performance_of_author_view(),
            conversations_view(),
            share_of_voice_view(),
            share_of_voice_between_view(),
        ]
    )


def _beside(table: Table) -> str:
    if table is POST_METRICS:
        return post_metrics_view()
    if table is POST_HISTORY:
        return post_history_view()
    if table is CARRY_OVER:
        return carry_over_view()
    return plain_view(table, any_count() if table is POST_MINUTES else "")


if __name__ == "__main__":
    print(draft(), end="")
