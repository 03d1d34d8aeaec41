"""Commands about what is there: init, check, schema."""

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
    """Makes the topics and tables that are missing, and writes the views that are not as this version has them; again
    and again without harm.

    Tables change by numbered migrations, each applied once. A view is written again when its definition has changed,
    and when somebody dropped or altered it; a view of ours that this version does not define any more is dropped.

    Refuses topics and tables that are there and do not fit, with the cure.
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
    """Is everything that is needed here, reachable, and of a version that is known? One line each, with the cure.

    Exits with 1 when anything failed.
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
    """The JSON Schema of an event, or what all topics hold, from the models that the worker itself uses."""
    document = asyncapi_document(Topics(prefix)) if asyncapi else event_json_schema()
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
