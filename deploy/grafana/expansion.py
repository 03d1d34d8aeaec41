"""The text of a query or a link as expanded by Grafana and the ClickHouse data source.

Written after grafana/scenes (`constants.ts`, `sceneInterpolator.ts`, `formatRegistry.ts`), Grafana's links
(`fieldOverrides.ts`) and grafana-clickhouse-datasource 4.20 (`CHDatasource.ts`, `macros.go`). The browser replaces
variables first; the data source's macros are expanded in what results, values included.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

DASHBOARDS: Final[Mapping[str, dict[str, Any]]] = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "dashboards").glob("*.json")
}

Value = str | list[str]
"""A list where several values are chosen: `All`, or the same variable twice in an address."""

VariableFormat = str | Callable[[Value], str]

VARIABLE: Final = re.compile(
    r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}", flags=re.ASCII
)


def sql_of(dashboard: Mapping[str, Any]) -> dict[str, str]:
    """Returns each SQL of a dashboard by title of panel, `$name` of variable or `@name` of annotation."""
    queries = {
        panel["title"]: target["rawSql"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        if "rawSql" in target
    }
    variables = dashboard["templating"]["list"]
    queries |= {f"${v['name']}": v["query"] for v in variables if v["type"] == "query"}
    return queries | {f"@{each['name']}": each["target"]["rawSql"] for each in dashboard["annotations"]["list"]}


def interpolate(text: str, variables: Mapping[str, Value], default: VariableFormat = "glob") -> str:
    """Replaces `$name`, `${name}`, `${name.path}`, `[[name]]`, each with or without a format.

    `variables` are keyed by name, or by `name.path`. An unknown variable stays as it is, an unknown format means
    glob. A value is not looked through for variables again.
    """

    def replaced(match: re.Match[str]) -> str:
        plain, bracketed, bracketed_format, braced, path, braced_format = match.groups()
        name = plain or bracketed or braced
        key = f"{name}.{path}" if path else name
        if key not in variables:
            return match[0]
        chosen = bracketed_format or braced_format or default
        if callable(chosen):
            return chosen(variables[key])
        return VARIABLE_FORMATS.get(chosen.split(":")[0], _glob)(variables[key], name)

    return VARIABLE.sub(replaced, text)


def as_the_data_source_sends_it(
    query: str, variables: Mapping[str, Value], start: int, end: int, interval: int = 15
) -> str:
    """Writes the SQL as ClickHouse receives the query; `start` and `end` of the dashboard in Unix seconds."""
    query = interpolate(query, variables, _quoted_without_escapes)
    since, until = f"toDateTime({start})", f"toDateTime({end})"
    query = re.sub(
        r"\$__timeFilter\(([^)]*)\)", lambda found: f"{found[1]} >= {since} AND {found[1]} <= {until}", query
    )
    for macro, text in {"$__fromTime": since, "$__toTime": until, "$__interval_s": str(interval)}.items():
        query = query.replace(macro, text)
    return query


def as_the_link_leads(url: str, variables: Mapping[str, Value]) -> str:
    """Writes the address behind a data link."""
    return interpolate(url, variables, "uriencode")


def _glob(value: Value, _: str) -> str:
    if isinstance(value, str):
        return value
    return "{" + ",".join(value) + "}" if len(value) > 1 else ",".join(value)


def _percentencode(value: Value, _: str) -> str:
    """Encodes as `encodeURIComponent`, and also the reserved characters ! ' ( ) * of RFC 3986."""
    return quote(value if isinstance(value, str) else "{" + ",".join(value) + "}", safe="")


def _uriencode(value: Value, _: str) -> str:
    """Encodes as `encodeURI`, and also ! ' ( ) *: characters with a meaning in an address stay."""
    return quote(value if isinstance(value, str) else "{" + ",".join(value) + "}", safe=";/?:@&=+$,#")


def _joined(separator: str) -> Callable[[Value, str], str]:
    return lambda value, _: value if isinstance(value, str) else separator.join(value)


def _each(quotes: str, escapes: Mapping[str, str]) -> Callable[[Value, str], str]:
    table = str.maketrans(dict(escapes))

    def formatted(value: Value, _: str) -> str:
        values = [value] if isinstance(value, str) else value
        return ",".join(quotes + each.translate(table) + quotes for each in values)

    return formatted


def _json(value: Value, _: str) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _queryparam(value: Value, name: str) -> str:
    return "&".join(f"var-{name}={quote(each, safe='')}" for each in ([value] if isinstance(value, str) else value))


def _quoted_without_escapes(value: Value) -> str:
    """Writes a value in the data source's own format, for a variable without a format."""
    return value if isinstance(value, str) else "'" + "','".join(value) + "'"


VARIABLE_FORMATS: Final[Mapping[str, Callable[[Value, str], str]]] = {
    "csv": _joined(","),
    "doublequote": _each('"', {'"': '\\"'}),
    "glob": _glob,
    "json": _json,
    "percentencode": _percentencode,
    "pipe": _joined("|"),
    "queryparam": _queryparam,
    "raw": _joined(","),
    "singlequote": _each("'", {"'": "\\'"}),
    "sqlstring": _each("'", {"'": "''", '"': '\\"'}),
    "uriencode": _uriencode,
}
