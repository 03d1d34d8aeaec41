"""The commands `init`, `check` and `schema`."""

import json
from dataclasses import asdict

import click

from pipeline.checks import run_checks
from pipeline.clickhouse.migrations import migrate
from pipeline.errors import CheckFailed
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import load_settings
from schemas.asyncapi import asyncapi_document
from schemas.events import event_json_schema
from schemas.topics import Topics

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(epilog="Example: engagement init")
@json_option
def init(as_json: bool) -> None:
    """Create missing topics and tables and write the views of this version; may be repeated.

    Tables change by numbered migrations, each applied once. A view is written again when its definition has changed or
    somebody dropped or altered it; earlier views that this version does not define any more are dropped.

    Existing topics and tables that do not fit are refused, with the cure.
    """
    settings = load_settings()
    topics = ensure_topics(settings)
    changes = migrate(settings)
    if as_json:
        click.echo(json.dumps({"topics": topics, **asdict(changes)}))
        return
    for name in topics:
        click.echo(f"made topic {name}")
    for name in changes.taken_over:
        click.echo(f"took over the database of migrations before {name}: its tables stay as they are")
    for name in changes.migrations:
        click.echo(f"applied migration {name}")
    for name in changes.views:
        click.echo(f"wrote view {name}")
    for name in changes.dropped_views:
        click.echo(f"dropped view {name}")
    if not topics and not changes:
        click.echo("all is there: nothing to do")


@click.command(epilog="Example: engagement check --json")
@json_option
def check(as_json: bool) -> None:
    """Check packages, servers, topics, fields of events, tables and disks; print one line per check, with the cure.

    Exits with 1 when a check failed.
    """
    findings = []
    for finding in run_checks(load_settings()):
        findings.append(finding)
        if not as_json:
            click.echo(f"{'ok' if finding.ok else 'failed':<8}{finding.name:<20}{finding.said}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    failed = [finding.name for finding in findings if not finding.ok]
    if failed:
        raise CheckFailed(
            f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}; the cure stands beside each"
        )


@click.command(epilog="Example: engagement schema --asyncapi > asyncapi.json")
@click.option("--asyncapi", is_flag=True, help="AsyncAPI 3.0 of all topics instead of the JSON Schema of an event.")
@click.option(
    "--prefix", default=Topics().prefix, show_default=True, help="Prefix of the topics in the AsyncAPI document."
)
def schema(asyncapi: bool, prefix: str) -> None:
    """Print the JSON Schema of an event, or the AsyncAPI of all topics, from the models of the worker."""
    document = asyncapi_document(Topics(prefix)) if asyncapi else event_json_schema()
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
