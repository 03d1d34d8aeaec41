"""The grants of readers: every view and no table, so that a tool lists each view once.

`python -m deploy.clickhouse.reader_grants` writes them into users.sql and into the reader of compose; tests compare.
The embedded stack asks for them at each start.
"""

import re
from pathlib import Path
from typing import Final

from deploy.clickhouse.views import all_views

ROLE: Final = "engagement_reader"
USERS_SQL: Final = Path(__file__).with_name("users.sql")
COMPOSE_READER: Final = Path(__file__).parent.parent / "compose/clickhouse/reader.xml"


def reader_grants(database: str = "engagement") -> list[str]:
    """Returns the grants of a reader for the views of a database, without the name of the reader."""
    return [f"GRANT SELECT ON {database}.{name}" for name in sorted(view.name for view in all_views())]


def with_grants(sql: str) -> str:
    """Returns the text of users.sql with the grants of this version.

    >>> text = with_grants("GRANT SELECT ON engagement.old_v TO engagement_reader;\\n\\nSELECT 1")
    >>> text.startswith("GRANT SELECT ON engagement.alert_deliveries_v TO engagement_reader;\\n\\n")
    True
    >>> "old_v" in text, text.endswith("TO engagement_reader;\\n\\nSELECT 1")
    (False, True)
    """
    written = "".join(f"{grant} TO {ROLE};\n\n" for grant in reader_grants())
    return _in_place_of(rf"GRANT SELECT ON engagement\.\S+ TO {ROLE};\n+", written, sql)


def with_queries(xml: str) -> str:
    """Returns the text of the users of compose with the grants of this version."""
    written = "".join(f"        <query>{grant}</query>\n" for grant in reader_grants())
    return _in_place_of(r" *<query>GRANT SELECT ON engagement\.\S+</query>\n", written, xml)


def _in_place_of(pattern: str, written: str, text: str) -> str:
    """Writes all where the first match stands, and takes every match away, wherever it stands."""
    first = re.search(pattern, text)
    assert first is not None, f"nothing matches {pattern}"
    return text[: first.start()] + written + re.sub(pattern, "", text[first.start() :])


if __name__ == "__main__":
    USERS_SQL.write_text(with_grants(USERS_SQL.read_text()))
    COMPOSE_READER.write_text(with_queries(COMPOSE_READER.read_text()))
