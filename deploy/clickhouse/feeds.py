"""The SQL of feeds, materialized views that copy rows of one table into another.

A feed is made by migrations, which repeat its SQL: `python -m deploy.clickhouse.feeds` prints it for a new one.
"""

from typing import Final

from schemas.tables import POST_HISTORY, POST_METRICS, STORED_AT

STEPS_PER_DOUBLING: Final = 8
"""Rows of post_history while the age of a post doubles, once the age has as many minutes twice."""

AGELESS_STEP: Final = 16
"""Minutes of a step where the age of the post is not known."""


def post_history_query() -> str:
    """Writes the query of post_history_feed.

    A step ends at an age that is a multiple of the step's length, and the newest row of a step wins there. The length
    is 1 minute up to an age of 16, 2 up to 32, 4 up to 64 and so on; it is AGELESS_STEP, counted by the clock, for
    a post whose age is not known.
    """
    doublings = f"toInt64(floor(log2(greatest(m.age_minutes, 2) - 1))) - {STEPS_PER_DOUBLING.bit_length() - 1}"
    length = f"if(m.age_minutes = 0, {AGELESS_STEP}, bitShiftLeft(toUInt32(1), greatest({doublings}, 0)))"
    position = "if(m.age_minutes = 0, intDiv(toUnixTimestamp(m.as_of), 60), m.age_minutes)"
    moved = {
        "as_of": "toDateTime(toUnixTimestamp(m.as_of) + 60 * minutes_left, 'UTC')",
        "age_minutes": "if(m.age_minutes = 0, 0, m.age_minutes + minutes_left)",
    }
    names = (column.name for column in POST_HISTORY.columns if column.name != STORED_AT.name)
    columns = ",\n".join(f"    {moved[name]} AS `{name}`" if name in moved else f"    m.`{name}`" for name in names)
    return (
        f"WITH\n    {length} AS minutes_of_step,\n"
        f"    (minutes_of_step - {position} % minutes_of_step) % minutes_of_step AS minutes_left\n"
        f"SELECT\n{columns}\nFROM {{database}}.{POST_METRICS.name} AS m"
    )


if __name__ == "__main__":
    print(f"ALTER TABLE {{database}}.post_history_feed {{cluster}} MODIFY QUERY\n{post_history_query()};")
