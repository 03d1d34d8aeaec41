"""The erasure knows every column that can hold text, and the page says what is done with each."""

import importlib.util
from pathlib import Path

from processors.erasure.check import as_text
from processors.erasure.columns import ERASED_COLUMNS, TREATMENTS
from processors.erasure.conversations import BY_CONVERSATION
from processors.erasure.others import BY_SPIKE
from processors.erasure.posts import BY_POST
from schemas.tables import DEAD_LETTERS, EVENTS, TABLES


def test_no_column_that_can_name_somebody_is_forgotten() -> None:
    """A new column with text, or with hashes of people, has to be given a treatment, and code that does it."""
    texts = {
        f"{table.name}.{column.name}"
        for table in TABLES
        for column in table.columns
        if "String" in column.type or "Enum" in column.type or column.type == "Array(UInt64)"
    }
    texts -= {"conversation_spikes.top_counts"}
    assert texts == ERASED_COLUMNS.keys()
    assert set(ERASED_COLUMNS.values()) <= TREATMENTS.keys()


def test_every_table_with_a_post_a_conversation_or_a_spike_is_cleaned() -> None:
    def having(name: str) -> set[str]:
        return {table.name for table in TABLES if any(column.name == name for column in table.columns)}

    assert having("post_id") == {table.name for table in BY_POST} | {EVENTS.name}
    assert having("conversation") == {table.name for table in BY_CONVERSATION} | {"conversation_spikes"}
    assert having("spike_id") == {table.name for table in BY_SPIKE}
    assert having("bytes") == {DEAD_LETTERS.name}


def test_the_check_reads_every_column_with_text() -> None:
    for table in TABLES:
        for column in table.columns:
            if "String" in column.type:
                assert as_text(column.name, column.type) is not None, f"{table.name}.{column.name}"


def test_the_page_is_up_to_date() -> None:
    path = Path(__file__).parent.parent / "docs" / "erased_columns.py"
    spec = importlib.util.spec_from_file_location("erased_columns", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.render(), "run `python docs/erased_columns.py`"
