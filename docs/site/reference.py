"""The pages of the reference that are made of code: commands, tables and views, topics, metrics of the process."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from deploy.clickhouse.views import all_views
from pipeline.cli import all_commands, engagement
from pipeline.observability.alert_metrics import AlertMetrics
from pipeline.observability.metrics import WorkerMetrics
from pipeline.observability.source_metrics import SourceMetrics
from pipeline.observability.spike_metrics import SpikeMetrics
from schemas.tables import TABLES
from schemas.topics import KINDS, Topics

COLUMN = re.compile(r"^\s+`(\w+)` (.+?) COMMENT '((?:[^'\\]|\\.)*)',?$", re.MULTILINE)
COMMENT = re.compile(r"COMMENT '((?:[^'\\]|\\.)*)'\s*$")


def commands_page() -> str:
    """Returns the page of all commands, from their help texts."""
    parts = ["# Commands", "Made from the commands' own help. `engagement COMMAND --help` prints the same."]
    context = click.Context(engagement, info_name="engagement")
    for name in all_commands():
        command = engagement.get_command(context, name)
        if command is not None and not command.hidden:
            parts += _command(command, click.Context(command, info_name=name, parent=context))
    return "\n\n".join(parts) + "\n"


def tables_page() -> str:
    """Returns the page of all tables and views, with each column's type and comment."""
    parts = [
        "# Tables and views",
        "Made from `schemas/tables.py` and `deploy/clickhouse/`. People and BI tools read the views (`..._v`); "
        "tables are for the pipeline itself. ClickHouse has the same comments: `DESCRIBE post_metrics_v`.",
        "## Views",
    ]
    for view in all_views():
        comment = COMMENT.search(view.sql)
        parts += [f"### {view.name}", _text(_unquoted(comment[1])) if comment else ""]
        rows = ((name, kind, _unquoted(text)) for name, kind, text in COLUMN.findall(view.sql))
        parts.append(_table(("column", "type", "meaning"), rows))
    parts.append("## Tables")
    for table in TABLES:
        parts += [f"### {table.name}", f"{_text(table.comment)}. Key: {', '.join(table.order_by)}."]
        columns = ((column.name, column.type, column.comment) for column in table.columns)
        parts.append(_table(("column", "type", "meaning"), columns))
    return "\n\n".join(filter(None, parts)) + "\n"


def topics_page() -> str:
    """Returns the page of all topics of the prefix `engagement`."""
    topics = Topics()
    rows = [
        *((topics.of(kind), "post_id", f"events of kind `{kind}`") for kind in KINDS),
        (topics.conversations, "the conversation", "what each post adds to a minute of a conversation, and watermarks"),
        (topics.alerts, "one key for all", "states of spikes, for the alert agent"),
        (topics.dead_letters, "that of the record", "records that could not be read, with position, field and reason"),
    ]
    return (
        "# Topics\n\nMade from `schemas/topics.py`. `ENGAGEMENT_TOPIC_PREFIX` replaces `engagement`; "
        "[asyncapi.json](asyncapi.json) has the schema of each message.\n\n"
    ) + _table(("topic", "key", "records"), rows, plain_last=True)


def metrics_page() -> str:
    """Returns the page of all metrics that a worker and a live source serve to Prometheus."""
    parts = ["# Metrics of the processes", "Made from the registries that `/metrics` serves."]
    worker = WorkerMetrics()
    AlertMetrics(worker)
    SpikeMetrics(worker)
    for title, registry in (("Worker", worker.registry), ("Live source", SourceMetrics().registry)):
        families = sorted(registry.collect(), key=lambda family: family.name)
        rows = (
            (family.name + ("_total" if family.type == "counter" else ""), family.type, family.documentation)
            for family in families
            if family.name.startswith("engagement_")
        )
        parts += [f"## {title}", _table(("metric", "type", "meaning"), rows)]
    return "\n\n".join(parts) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference-commands.md": commands_page,
    "reference-tables.md": tables_page,
    "reference-topics.md": topics_page,
    "reference-metrics.md": metrics_page,
}
"""Name of a generated page -> its text."""


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    yield f"## {path}"
    yield _text(command.help or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            part = command.get_command(context, name)
            if part is not None:
                yield from _command(part, click.Context(part, info_name=name, parent=context))
        return
    yield f"    {path} {' '.join(command.collect_usage_pieces(context))}"
    options = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    if options:
        yield _table(("option", "meaning"), options)
    if command.epilog:
        yield (
            f"`{command.epilog.removeprefix('Example: ')}`" if "Example: " in command.epilog else _text(command.epilog)
        )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]], plain_last: bool = False) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for *codes, last in rows:
        shown = last if plain_last else _text(str(last))
        cells = [*(f"`{code}`".replace("|", "\\|") for code in codes), shown.replace("|", "\\|").replace("\n", " ")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _text(text: str) -> str:
    """Returns plain text as Markdown: nothing in it is markup."""
    escaped = re.sub(r"([\\*_\[\]#`])", r"\\\1", text.replace("\b", ""))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unquoted(literal: str) -> str:
    return re.sub(r"\\(.)", r"\1", literal)
