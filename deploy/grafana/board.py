"""The parts of a dashboard: panels with a place, queries of ClickHouse and of Prometheus, variables and links.

Dashboards are written in Python where a page has many panels of one shape. `python -m deploy.grafana` writes their
JSON, which Grafana is provisioned with; a test compares the two.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from grafana_foundation_sdk.builders.barchart import Panel as BarChart
from grafana_foundation_sdk.builders.common import StackingConfig
from grafana_foundation_sdk.builders.dashboard import (
    ConstantVariable,
    CustomVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    TextBoxVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.piechart import Panel as PieChart
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

CLICKHOUSE: Final = DataSourceRef(type_val="grafana-clickhouse-datasource", uid="${clickhouse}")
PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${prometheus}")
"""Data sources are variables, so that dashboards can be imported where sources have other names."""

PROVISIONED: Final = {
    "clickhouse": ("ClickHouse", "engagement-clickhouse"),
    "prometheus": ("Prometheus", "engagement-prometheus"),
}
"""Variable -> its label, and the provisioned source that it begins with."""

PAGE_ADDRESS: Final = "http://127.0.0.1:8090"
"""Where `engagement serve` shows its page: the constant `page` of each dashboard that leads there."""

COLUMNS: Final = 24
"""Columns of Grafana's grid."""

AnyPanel = TypeVar("AnyPanel", Stat, Table, TimeSeries, StateTimeline, PieChart, BarChart)

Steps = Sequence[tuple[float | None, str]]
"""Threshold -> colour from there on, the first without a threshold."""

ColumnLinks = Mapping[str, Sequence[tuple[str, str]]]
"""Column -> title and address of each of its links."""

MARKS_SQL: Final = """\
SELECT
  started_at AS time,
  ifNull(ended_at, as_of) AS timeEnd,
  conversation AS title,
  concat(
    'Spike: ', toString(round(observed, 1)), ' comments and posts a minute, usually ', toString(round(expected, 3))
  ) AS text,
  toString(severity) AS tags
FROM conversation_spikes_v
WHERE started_at <= $__toTime AND ifNull(ended_at, as_of) >= $__fromTime
  AND {condition}
ORDER BY score DESC, spike_id
LIMIT 100"""


class SqlQuery(Builder[Dataquery], Dataquery):
    """A query of the ClickHouse data source, of which the SDK has no model."""

    def __init__(self, sql: str, *, is_series: bool = False) -> None:
        self._sql, self._is_series = sql, is_series

    def build(self) -> Dataquery:
        """Returns the query itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Returns the fields of the query as stored by the data source."""
        return {
            "refId": "A",
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "queryType": "timeseries" if self._is_series else "table",
            "format": 0 if self._is_series else 1,
            "rawSql": self._sql,
        }


class Board:
    """A dashboard with panels placed from left to right, and below when a line is full."""

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
        for source, name in ((CLICKHOUSE, "clickhouse"), (PROMETHEUS, "prometheus")):
            label, uid = PROVISIONED[name]
            made = DatasourceVariable(name).label(label).type(str(source.type_val)).multi(False).include_all(False)
            self._dashboard.with_variable(made.current(VariableOption(text=uid, value=uid, selected=True)))
        self._number = self._x = self._y = self._height = 0
        self._marks: list[dict[str, object]] = []

    def begin_with(self, time: str) -> None:
        """Sets the range with which the dashboard opens, for example now-6h."""
        self._dashboard.time(time, "now")

    def lead_to_page(self) -> None:
        """Adds the address of the live page, for links."""
        self._dashboard.with_variable(ConstantVariable("page").label("Address of the page").value(PAGE_ADDRESS))
        link = DashboardLink("Live page").type(DashboardLinkType.LINK).url("${page}/").target_blank(True)
        self._dashboard.link(link)

    def mark(self, name: str, condition: str, *, is_on: bool = True, colour: str = "orange") -> None:
        """Marks spikes on every chart over time, under a condition in SQL."""
        query = {
            "name": name,
            "enable": is_on,
            "hide": False,
            "iconColor": colour,
            "datasource": CLICKHOUSE,
            "target": {**SqlQuery(MARKS_SQL.format(condition=condition)).to_json(), "refId": "Anno"},
        }
        self._marks.append(query)

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
        """Returns the JSON for Grafana."""
        # The SDK's annotations have no place for SQL.
        text = JSONEncoder(sort_keys=False).encode({"marks": self._marks, "dashboard": self._dashboard.build()})
        made = json.loads(text)
        made["dashboard"]["annotations"] = {"list": made["marks"]}
        return json.dumps(made["dashboard"], indent=2) + "\n"

    def _end_line(self) -> None:
        self._x, self._y, self._height = 0, self._y + self._height, 0


def stat(title: str, description: str, unit: str, steps: Steps = ()) -> Stat:
    """Makes a panel with a number; `steps`: threshold -> colour, the first without a threshold."""
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
    links: ColumnLinks | None = None,
    units: Mapping[str, str] | None = None,
) -> Table:
    """Makes a table; `links`: column -> titles and addresses of its links, `units`: column -> unit."""
    panel = Table().title(title).description(description).unit("none").no_value("none").datasource(CLICKHOUSE)
    for column, leads in (links or {}).items():
        shown = [{"title": words, "url": url} for words, url in leads]
        panel.override_by_name(column, [DynamicConfigValue("links", shown)])
    for column, unit in (units or {}).items():
        panel.override_by_name(column, [DynamicConfigValue("unit", unit)])
    return panel.with_target(SqlQuery(sql))


def ask(panel: AnyPanel, *queries: tuple[str, str]) -> AnyPanel:
    """Gives a panel expressions of PromQL, each with the name of a series."""
    panel.datasource(PROMETHEUS)
    for letter, (expression, name) in zip("ABCDEFGH", queries, strict=False):
        query = PrometheusQuery().ref_id(letter).datasource(PROMETHEUS).expr(expression).legend_format(name)
        panel.with_target(query.range())
    return panel


def number(title: str, description: str, sql: str, unit: str = "short", steps: Steps = ()) -> Stat:
    """Makes a panel with the number in the answer of a query."""
    return stat(title, description, unit, steps).datasource(CLICKHOUSE).with_target(SqlQuery(sql))


def series(title: str, description: str, sql: str, unit: str = "short", *, is_stacked: bool = False) -> TimeSeries:
    """Makes a panel of series over time from the answer of a query."""
    panel = lines(title, description, unit, is_stacked=is_stacked)
    return panel.datasource(CLICKHOUSE).with_target(SqlQuery(sql, is_series=True))


def several_variable(name: str, label: str, sql: str, everything: str) -> QueryVariable:
    """Makes a variable of which several values may be chosen; `everything`, its first option, chooses all."""
    current = VariableOption(text=[everything], value=[everything], selected=True)
    return query_variable(name, label, sql).multi(True).current(current)


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
    """Makes a variable for typed text, empty at first."""
    return TextBoxVariable(name).label(label).default_value("").current(VariableOption(text="", value=""))
