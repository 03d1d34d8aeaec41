"""Queries of the page, whose rows have names, and the port by which parts run them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

PageRow = dict[str, Any]


@dataclass(frozen=True)
class PageQuery:
    """A SELECT: `columns` are names and expressions; `rest` begins with FROM and may have %(name)s parameters."""

    columns: Mapping[str, str]
    rest: str

    @property
    def sql(self) -> str:
        """Returns the statement."""
        selected = ",\n    ".join(f"{expression} AS {name}" for name, expression in self.columns.items())
        return f"SELECT\n    {selected}\n{self.rest.strip()}"

    def rows(self, columns: Sequence[Sequence[Any]]) -> list[PageRow]:
        """Returns the columns of an answer as rows by name."""
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]


class ReadsRows(Protocol):
    """The database of the parts."""

    async def read(self, query: PageQuery, **params: Any) -> list[PageRow]:
        """Returns the rows of a query. Raises EngagementError."""


class NumbersOf(dict[str, str]):
    """Columns whose expressions are their names."""

    def __init__(self, *names: str, **expressions: str) -> None:
        super().__init__({name: name for name in names} | expressions)
