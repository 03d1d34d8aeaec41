"""The view of spikes: the row of each spike, with the group of spikes that the same cause made."""

from typing import Final

from deploy.clickhouse.drafting import HIDDEN, View, kind_of, shown_column, view
from schemas.tables import CONVERSATION_SPIKES, STRING, Column

GROUP_ID: Final = Column(
    "group_id", STRING, "Spikes of one cause share this: the id of the first of them, or of the spike itself"
)


def conversation_spikes_view() -> View:
    """Shows the last state of each spike, with the id of its group."""
    shown = [shown_column(column, "spikes") for column in CONVERSATION_SPIKES.columns if column.name not in HIDDEN]
    shown.insert(2, kind_of("spikes.conversation"))
    group = (GROUP_ID, "if(groups.group_id = '', spikes.spike_id, groups.group_id)")
    tail = (
        f"FROM (SELECT * FROM {{database}}.{CONVERSATION_SPIKES.name} FINAL) AS spikes\n"
        "LEFT JOIN (SELECT spike_id, group_id FROM {database}.spike_groups FINAL) AS groups USING (spike_id)"
    )
    return view(f"{CONVERSATION_SPIKES.name}_v", CONVERSATION_SPIKES.comment, [*shown, group], tail)
