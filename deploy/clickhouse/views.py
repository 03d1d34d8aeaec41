"""The views that people and BI tools read: current rows only, plain types, a comment on every column.

Views are generated from schemas/ and are no migrations: `engagement init` (pipeline/clickhouse/views.py) creates or
replaces each one that the database does not have in this text. `python -m deploy.clickhouse.views` prints all of them.
"""

import re
from graphlib import TopologicalSorter
from typing import Final

from deploy.clickhouse.days.views_of_days import author_days_view, conversation_days_view, post_days_view
from deploy.clickhouse.drafting import View, plain_view
from deploy.clickhouse.views_of_authors import authors_view
from deploy.clickhouse.views_of_conversations import (
    conversation_minutes_view,
    conversations_view,
    share_of_voice_view,
)
from deploy.clickhouse.views_of_messages import carry_over_view
from deploy.clickhouse.views_of_performance import (
    over_performance_between_view,
    over_performance_of_author_view,
    over_performance_view,
)
from deploy.clickhouse.views_of_posts import (
    metrics_active_at_view,
    metrics_at_view,
    post_forecasts_view,
    post_history_view,
    post_metrics_active_view,
    post_metrics_view,
    post_totals_view,
)
from deploy.clickhouse.views_of_ranges import (
    authors_between_view,
    conversations_active_view,
    conversations_between_view,
    post_metrics_between_view,
    post_minutes_between_view,
    post_minutes_view,
    share_of_voice_between_view,
)
from deploy.clickhouse.views_of_spikes import conversation_spikes_view
from deploy.clickhouse.views_of_storage import freshness_view, merges_view, storage_view
from schemas.tables import (
    CARRY_OVER,
    CONVERSATION_DAYS,
    CONVERSATION_MINUTES,
    CONVERSATION_SPIKES,
    POST_HISTORY,
    POST_METRICS,
    POST_METRICS_ACTIVE,
    POST_MINUTES,
    TABLES,
    Table,
)

_READ: Final = re.compile(r"\{database\}\.(\w+)")


def all_views() -> list[View]:
    """Writes the view beside each table and the views that are computed from several, in the order of reading."""
    return in_order_of_reading(
        [
            *map(_beside, TABLES),
            post_totals_view(),
            post_forecasts_view(),
            metrics_at_view(),
            metrics_active_at_view(),
            authors_view(),
            over_performance_view(),
            over_performance_of_author_view(),
            over_performance_between_view(),
            conversations_view(),
            conversations_active_view(),
            conversations_between_view(),
            author_days_view(),
            post_days_view(),
            authors_between_view(),
            post_metrics_between_view(),
            post_minutes_between_view(),
            share_of_voice_view(),
            share_of_voice_between_view(),
            freshness_view(),
            storage_view(),
            merges_view(),
        ]
    )


def in_order_of_reading(views: list[View]) -> list[View]:
    """Orders views by their reading: a view comes after the views in its FROM clauses. Other views keep their order.

    Raises graphlib.CycleError where views read each other.

    >>> [each.name for each in in_order_of_reading([View("b", "... FROM {database}.a"), View("a", "...")])]
    ['a', 'b']
    """
    by_name = {view.name: view for view in views}
    reads = {
        view.name: [name for name in _READ.findall(view.sql) if name in by_name and name != view.name] for view in views
    }
    return [by_name[name] for name in TopologicalSorter(reads).static_order()]


def _beside(table: Table) -> View:
    if table is POST_METRICS:
        return post_metrics_view()
    if table is POST_METRICS_ACTIVE:
        return post_metrics_active_view()
    if table is POST_HISTORY:
        return post_history_view()
    if table is CARRY_OVER:
        return carry_over_view()
    if table is CONVERSATION_SPIKES:
        return conversation_spikes_view()
    if table is CONVERSATION_MINUTES:
        return conversation_minutes_view()
    if table is CONVERSATION_DAYS:
        return conversation_days_view()
    if table is POST_MINUTES:
        return post_minutes_view()
    return plain_view(table)


if __name__ == "__main__":
    print("\n\n".join(f"{view.sql};" for view in all_views()))
