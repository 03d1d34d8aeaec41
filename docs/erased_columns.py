"""Writes the last table of docs/privacy.md from processors/erasure/columns.py: python docs/erased_columns.py."""

from pathlib import Path

from processors.erasure.columns import ERASED_COLUMNS, TREATMENTS

PAGE = Path(__file__).with_name("privacy.md")
HEADING = "### What is done with each column\n\n"


def render() -> str:
    """Returns the whole page."""
    rows = [
        f"| {treatment}: {said} | {', '.join(f'`{name}`' for name, of in ERASED_COLUMNS.items() if of == treatment)} |"
        for treatment, said in TREATMENTS.items()
    ]
    told = PAGE.read_text().partition(HEADING)[0]
    end = "\nEvery other column is a number or a time. Numbers of posts and conversations follow from the erased log.\n"
    return told + HEADING + "\n".join(["| treatment | columns |", "|---|---|", *rows]) + "\n" + end


if __name__ == "__main__":
    PAGE.write_text(render())
