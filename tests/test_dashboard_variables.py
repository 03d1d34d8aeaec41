"""Variables in the SQL of dashboards hold names that strangers chose, or whatever stands in an address: each is a
string to the real ClickHouse and nothing else, and finds the rows of exactly that name.

Every hostile name has a twin, a plain name with rows of its own that are the same; a panel must show both alike.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import pytest

from deploy.grafana.expansion import DASHBOARDS, Value, as_the_data_source_sends_it, as_the_link_leads, sql_of
from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.hostile_names import HOSTILE

FROM = int(time.time()) // 60 * 60 - 3 * 3600
TO = FROM + 3600
"""An hour that is active, and before the last two."""

WITH_ALL_NAMES: Final = {"Totals as they were shown", "$channel", "Posts and comments"}
"""One place of a post, of an author and of a conversation; the other places are asked for the first few names."""

FEW: Final = 8

OF_AUTHORS: Final = {"Over-performance", "$channel"}
"""Panels that show no post without an author."""

NAMES: Final = ("post", "author", "channel", "conversation")
SEVERAL: Final = ("channel", "author", "label")
"""Variables of which several values may be chosen, on dashboards about many posts."""

OF_MANY: Final = ("overview", "engagement", "conversations")
OTHERS: Final[dict[str, Value]] = {"find": "", "kind": "all", "label": ["every label"]}
"""What is chosen in variables that are not the names of rows here."""

NOT_HERE: Final = {"Rising posts", "By label"}
"""Panels that would need other rows than these."""

ALIKE: Final = {"Posts that carry it", "Spikes in this time"}
"""Panels that show the same number of each name here."""

OF_SPIKES: Final = ("search", "kind", "severity", "channel", "spike")
"""Variables of the dashboard of spikes; tests/test_dashboard_spikes.py tries hostile values in each."""

SAFE: Final = re.compile(
    rf"decodeURLComponent\('\$\{{(?:{'|'.join((*NAMES, *OF_SPIKES, 'find'))}):percentencode\}}'\)"
    rf"|splitByChar\('&', '\$\{{(?:{'|'.join(SEVERAL)}):queryparam\}}'\)"
)
"""Percent encoding leaves letters, digits and - . _ ~ % of any text, whatever the browser was told; decoding it is done
by ClickHouse before it looks for rows."""

MACROS: Final = re.compile(r"\$__(?:timeFilter\(\w+\)|fromTime\b|toTime\b|interval_s\b)")

PLACES: Final = {
    name: {
        title: query
        for title, query in sql_of(dashboard).items()
        if any(f"${{{each}:" in query for each in NAMES) and title not in NOT_HERE
    }
    for name, dashboard in DASHBOARDS.items()
    if name not in ("spikes", "health", "overview", "conversations")
}
"""Where SQL has variables, by dashboard that people read one thing on."""


def _unsafe(query: str) -> str | None:
    """What of the query is a variable that is not a string to ClickHouse, whatever it holds."""
    left = MACROS.sub("", SAFE.sub("", query))
    found = re.search(r".{0,20}(?:\$|\[\[).{0,20}", left)
    return found[0] if found else None


@pytest.mark.parametrize(
    "query",
    [
        "post_id = ${post:sqlstring}",
        "post_id = ${post:singlequote}",
        "post_id = '${post:percentencode}' OR x = '${post}'",
        "post_id = decodeURLComponent('${post}')",
        "post_id = decodeURLComponent('${post:percentencode}', ${post:percentencode})",
        "post_id = decodeURLComponent('${post:uriencode}')",
        "post_id = '$post'",
        "post_id = '[[post]]'",
        "post_id = decodeURLComponent('[[post:percentencode]]')",
        "has(splitByChar('&', '${channel}'), channel)",
        "has(splitByChar('&', '${post:queryparam}'), post_id)",
        "$__timeFilter($post)",
    ],
)
def test_an_unsafe_variable_is_seen(query: str) -> None:
    assert _unsafe(query) is not None
    assert _unsafe("$__timeFilter(a) AND b = decodeURLComponent('${post:percentencode}')") is None


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_variables_are_strings_wherever_sql_has_them(name: str) -> None:
    assert {title: _unsafe(query) for title, query in sql_of(DASHBOARDS[name]).items() if _unsafe(query)} == {}
    for variable in DASHBOARDS[name]["templating"]["list"]:
        if variable["type"] in ("datasource", "constant"):
            assert variable["name"] in ("clickhouse", "prometheus", "page")
            continue
        assert variable["name"] in (OF_SPIKES if name == "spikes" else (*NAMES, "find", "kind", "label"))
        # A filter of its own, or a value for "all", would go into SQL without a format.
        assert variable["type"] in ("query", "custom", "textbox")
        is_several = name in OF_MANY and variable["name"] in SEVERAL
        several = (variable.get("multi", False), variable.get("includeAll", False), variable.get("allValue"))
        assert several == (is_several, False, None)


def test_links_lead_to_the_value_itself() -> None:
    found = [url for dashboard in DASHBOARDS.values() for url in _urls(dashboard) if "${__value" in url]
    # The address of a post is a link as it stands; SQL lets only http and https through.
    found = [url for url in found if url != "${__value.raw:raw}"]
    assert len(found) >= 10
    for url in found:
        held = r"\$\{(?:__(?:value|data)\.|clickhouse|prometheus)"
        assert re.findall(rf"{held}[^}}]*\}}", url) == re.findall(rf"{held}[\w.]*:percentencode\}}", url)
        for hostile in HOSTILE:
            variables: dict[str, Value] = {
                "__value.raw": hostile,
                "__data.fields.Channel": hostile,
                "__url_time_range": "from=now-1h&to=now",
            }
            variables |= {"page": "https://page.example", "clickhouse": hostile, "prometheus": hostile}
            path, _, query = as_the_link_leads(url, variables).partition("?")
            if url.startswith("${page}/"):
                assert path.startswith("https://page.example/")
                assert [unquote(each) for each in path.split("/")[4:]] == [hostile] * url.count("percentencode")
                continue
            asked = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
            assert [value for name, value in asked if name.startswith("var-")] == [hostile] * url.count("percentencode")


def _urls(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("url"), str):
            yield part["url"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _urls(inner)


def test_the_names_are_hostile_and_distinct() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE)
    assert sum(map(len, PLACES.values())) == 30


def _twin(number: int) -> str:
    return f"twin-{number}"


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    """A post, author, channel and conversation of each hostile name, and of its twin; each with another count."""
    with ClickHouse(tables) as client:
        rows = [(name, n) for n, hostile in enumerate(HOSTILE, 1) for name in (hostile, _twin(n))]
        names, numbers = [name for name, _ in rows], [n for _, n in rows]
        minutes = [FROM + 60 * (n % 7) for n in numbers]
        version = [1] * len(rows)
        counts = dict.fromkeys(("likes", "shares", "comments"), numbers)
        client.insert("post_minutes", {"post_id": names, "minute": minutes, **counts, "version": version})
        client.insert(
            "post_metrics",
            {
                "post_id": names,
                "as_of": minutes,
                "spread_as_of": minutes,
                **counts,
                "share_parents_known": version,
                "share_levels": [[n] for n in numbers],
                "comment_levels": [[n] for n in numbers],
                "shares_actors": numbers,
                "reproduction": [float(n) for n in numbers],
                "answered": numbers,
                "first_response_p50": [float(n) for n in numbers],
                "version": version,
            },
        )
        client.insert(
            "posts",
            {
                "post_id": names,
                "author_id": names,
                "channel": names,
                "created_at": [FROM * 10**6] * len(rows),
                "conversations": [[f"hashtag:{n}"] for n in numbers],
                "version": version,
            },
        )
        client.insert(
            "conversation_minutes",
            {"conversation": names, "minute": minutes, "posts": numbers, **counts, "voices": numbers}
            | {"channels": numbers, "version": version},
        )
        client.insert(
            "conversation_posts",
            {"conversation": names, "minute": minutes, "post_id": names, "posts": version, **counts}
            | {"voices": [list(range(n)) for n in numbers], "voices_exact": version, "version": version},
        )
        client.insert(
            "conversation_spikes",
            {"spike_id": names, "conversation": names, "started_at": minutes}
            | {"as_of": [minute + 60 for minute in minutes], "observed": [float(n) for n in numbers]}
            | {
                "top_posts": [[name.replace("\0", "")] for name in names],
                "severity": ["info"] * len(rows),
                "version": version,
            },
        )
        yield client


def _shown(client: ClickHouse, query: str, variables: Mapping[str, Value]) -> list[tuple[Any, ...]]:
    sent = as_the_data_source_sends_it(query, OTHERS | variables, FROM, TO)
    return list(zip(*client.select(sent), strict=True))


@pytest.mark.stack
@pytest.mark.parametrize("dashboard", sorted(PLACES))
def test_each_panel_shows_the_rows_of_exactly_that_name(client: ClickHouse, dashboard: str) -> None:
    for title, query in PLACES[dashboard].items():
        names = HOSTILE if title in WITH_ALL_NAMES else HOSTILE[:FEW]
        if dashboard in OF_MANY:
            names = tuple(filter(None, names))  # nothing chosen is everything
        seen = set()
        for number, hostile in enumerate(names, 1):
            twin = _twin(number)
            wanted = _shown(client, query, dict.fromkeys(NAMES, twin))
            assert wanted, title
            seen.add(str(wanted))
            as_its_twin = [
                tuple(value.replace(twin, hostile) if isinstance(value, str) else value for value in row)
                for row in wanted
            ]
            if title in OF_AUTHORS and not hostile:
                as_its_twin = []
            if title == "@Spikes of the post" and "\0" in hostile:
                as_its_twin = []  # a text within an array holds no NUL
            assert _shown(client, query, dict.fromkeys(NAMES, hostile)) == as_its_twin, (title, hostile[:80])
        assert len(seen) == (1 if title in ALIKE else len(names)), f"{title}: what is shown tells names apart"


@pytest.mark.stack
@pytest.mark.parametrize("dashboard", sorted(PLACES.keys() - set(OF_MANY)))
def test_several_values_are_no_more_than_one_name(client: ClickHouse, dashboard: str) -> None:
    """The same variable twice in an address, and `$__all`, which Grafana takes for all the options."""
    for title, query in PLACES[dashboard].items():
        nobody = _shown(client, query, dict.fromkeys(NAMES, "nobody"))
        for values in (["twin-1", "\\' OR 1 = 1 -- "], list(HOSTILE), []):
            assert _shown(client, query, dict.fromkeys(NAMES, values)) == nobody, title


@pytest.mark.stack
@pytest.mark.parametrize("unsafe", ["sqlstring", "singlequote"])
def test_grafanas_own_quotes_let_a_name_run_as_sql(client: ClickHouse, unsafe: str) -> None:
    """Why no format of Grafana that quotes is used: it knows nothing of backslashes."""
    query = sql_of(DASHBOARDS["post"])["Totals as they were shown"]
    quoted = SAFE.sub(f"${{post:{unsafe}}}", query)
    assert (1, 2, 3, 4) in [row[1:] for row in _shown(client, quoted, {"post": HOSTILE[0]})]
    assert (1, 2, 3, 4) not in [row[1:] for row in _shown(client, query, {"post": HOSTILE[0]})]


@pytest.mark.stack
def test_several_values_let_through_the_rows_of_exactly_these_names(client: ClickHouse) -> None:
    query = sql_of(DASHBOARDS["engagement"])["Top posts"]
    few = [name for name in HOSTILE[:FEW] if name]
    for variable, index in (("channel", 2), ("author", 1)):
        chosen: dict[str, Value] = {"channel": ["every channel"], "author": ["every author"]}
        rows = _shown(client, query, chosen | {variable: few})
        assert sorted(row[index] for row in rows) == sorted(few), variable
        assert len(_shown(client, query, chosen)) == 20, "all of them, up to the limit"
        assert len(_shown(client, query, chosen | {variable: "twin-3"})) == 1
        assert _shown(client, query, chosen | {variable: ["nobody", "twin-3&var-channel=twin-4"]}) == []
