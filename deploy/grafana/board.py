"""The parts of a dashboard: panels with a place, queries of ClickHouse and of Prometheus, variables and links.

Dashboards are written in Python where a page has many panels of one shape. `python -m deploy.grafana` writes their
JSON, which Grafana is provisioned with; a test compares the two.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from grafana_foundation_sdk.builders.common import StackingConfig
from grafana_foundation_sdk.builders.dashboard import (
    CustomVariable,
    Dashboard,
    DashboardLink,
    QueryVariable,
    Row,
    TextBoxVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import GraphDrawStyle, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

CLICKHOUSE: Final = DataSourceRef(type_val="grafana-clickhouse-datasource", uid="engagement-clickhouse")
PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="engagement-prometheus")
COLUMNS: Final = 24
"""Columns of Grafana's grid."""

AnyPanel = TypeVar("AnyPanel", Stat, Table, TimeSeries, StateTimeline)


class SqlQuery(Builder[Dataquery], Dataquery):
    """A query of the ClickHouse data source, of which the SDK has no model."""

    def __init__(self, sql: str, *, is_series: bool = False) -> None:
        self._sql, self._is_series = sql, is_series

    def build(self) -> Dataquery:
        """Returns the query itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Returns the fields of the query as the data source stores them."""
        return {
            "refId": "A",
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "queryType": "timeseries" if self._is_series else "table",
            "format": 0 if self._is_series else 1,
            "rawSql": self._sql,
        }


class Board:
    """A dashboard that places panels from left to right, and below when a line is full."""

    def __init__(self, uid: str, title: str, description: str) -> None:
        link = DashboardLink("Engagement").type(DashboardLinkType.DASHBOARDS).tags(["engagement"])
        self._dashboard = (
            Dashboard(title)
            .uid(uid)
            .description(description)
            .tags(["engagement"])
            .version(1)
            .readonly()
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .timezone("utc")
            .refresh("30s")
            .time("now-24h", "now")
            .link(link.as_dropdown(True).keep_time(True))
            .annotations([])
            .variables([])
        )
        self._number = self._x = self._y = self._height = 0

    def add_variable(self, variable: QueryVariable | CustomVariable | TextBoxVariable) -> None:
        """Adds a variable at the top of the page."""
        self._dashboard.with_variable(variable)

    def add_row(self, title: str) -> None:
        """Begins a section."""
        self._end_line()
        self._number += 1
        self._dashboard.with_row(Row(title).id(self._number).grid_pos(GridPos(x=0, y=self._y, w=COLUMNS, h=1)))
        self._y += 1

    def add(self, panel: AnyPanel, width: int, height: int = 8) -> None:
        """Places a panel."""
        if self._x + width > COLUMNS:
            self._end_line()
        self._number += 1
        self._dashboard.with_panel(panel.id(self._number).grid_pos(GridPos(x=self._x, y=self._y, w=width, h=height)))
        self._x, self._height = self._x + width, max(self._height, height)

    def to_json(self) -> str:
        """Returns the JSON that Grafana reads."""
        return JSONEncoder(indent=2, sort_keys=False).encode(self._dashboard.build()) + "\n"

    def _end_line(self) -> None:
        self._x, self._y, self._height = 0, self._y + self._height, 0


def stat(title: str, description: str, unit: str, steps: Sequence[tuple[float | None, str]] = ()) -> Stat:
    """Makes a panel with one number; `steps`: threshold -> colour, the first without a threshold."""
    panel = Stat().title(title).description(description).unit(unit).no_value("0")
    if steps:
        colours = [Threshold(value=value, color=colour) for value, colour in steps]
        panel.thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(colours))
    return panel


def lines(title: str, description: str, unit: str, *, is_stacked: bool = False, is_bars: bool = False) -> TimeSeries:
    """Makes a panel of series over time."""
    panel = TimeSeries().title(title).description(description).unit(unit).no_value("nothing in this time")
    panel.fill_opacity(60 if is_bars else 10)
    if is_bars:
        panel.draw_style(GraphDrawStyle.BARS)
    if is_stacked:
        panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
    return panel


def table(
    title: str,
    description: str,
    sql: str,
    links: Mapping[str, tuple[str, str]] | None = None,
    units: Mapping[str, str] | None = None,
) -> Table:
    """Makes a table; `links`: column -> title and address of its link, `units`: column -> unit."""
    panel = Table().title(title).description(description).unit("none").no_value("none").datasource(CLICKHOUSE)
    for column, (words, url) in (links or {}).items():
        panel.override_by_name(column, [DynamicConfigValue("links", [{"title": words, "url": url}])])
    for column, unit in (units or {}).items():
        panel.override_by_name(column, [DynamicConfigValue("unit", unit)])
    return panel.with_target(SqlQuery(sql))


def ask(panel: AnyPanel, *queries: tuple[str, str]) -> AnyPanel:
    """Gives a panel expressions of PromQL, each with the name of its series."""
    panel.datasource(PROMETHEUS)
    for letter, (expression, name) in zip("ABCDEFGH", queries, strict=False):
        query = PrometheusQuery().ref_id(letter).datasource(PROMETHEUS).expr(expression).legend_format(name)
        panel.with_target(query.range())
    return panel


def query_variable(name: str, label: str, sql: str) -> QueryVariable:
    """Makes a variable whose options ClickHouse knows; a value of one's own may be typed."""
    made = QueryVariable(name).label(label).datasource(CLICKHOUSE).query(sql)
    made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.DISABLED)
    return made.multi(False).include_all(False).allow_custom_value(True)


def choice_variable(name: str, label: str, options: Sequence[str]) -> CustomVariable:
    """Makes a variable with fixed options, of which the first is chosen."""
    shown = [VariableOption(text=option, value=option, selected=option == options[0]) for option in options]
    made = CustomVariable(name).label(label).values(",".join(options)).options(shown).current(shown[0])
    return made.multi(False).include_all(False)


def text_variable(name: str, label: str) -> TextBoxVariable:
    """Makes a variable that people type into, empty at first."""
    return TextBoxVariable(name).label(label).default_value("").current(VariableOption(text="", value=""))
