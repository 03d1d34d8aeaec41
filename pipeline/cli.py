"""The command `engagement`: tables of commands, each of which is imported when it is called."""

import os
import sys
from functools import cache
from importlib import import_module
from typing import Any, Final

import click

from pipeline.command_group import CommandGroup
from pipeline.errors import EngagementError
from pipeline.observability.logs import quiet_clients

CommandTable = dict[str, tuple[str, str]]
"""Place (`module:attribute`) and help of each command, by name."""

SETUP_COMMANDS: Final[CommandTable] = {
    "demo": (
        "pipeline.demo.command:demo",
        "A tour on the embedded stack; results are shown and checked against a recount.",
    ),
    "stack": ("pipeline.embedded.commands:stack", "The embedded Kafka and ClickHouse: up, down, status."),
    "check": ("pipeline.commands:check", "Are packages, servers, topics and tables there and of known versions?"),
    "init": ("pipeline.commands:init", "Create topics, tables and views; may be repeated."),
}

SOURCES_TABLE: Final = "producers.sources:SOURCES"
"""The place of the table of sources and their commands. Modules of producers and processors are named, not imported,
because imports go one way."""

COLLECTOR_COMMANDS: Final[CommandTable] = {
    "collect": (
        "producers.collector.command:collect_events",
        "Take events over HTTP: JSON, CloudEvents, ActivityStreams, webhooks.",
    ),
    "collect-keys": (
        "producers.collector.command:collect_keys",
        "Add, list and revoke the keys by which programs send to `collect`.",
    ),
}

PROCESSING_COMMANDS: Final[CommandTable] = {
    "work": ("processors.commands:work", "The Faust worker: reads Kafka, folds events, keeps the tables exact."),
    "recount": (
        "processors.commands:recount",
        "Compute derived rows again from the log of events, or only compare them.",
    ),
    "retain": (
        "processors.retention.commands:retain",
        "Delete posts and minutes that are older than the retention.",
    ),
    "forget": (
        "processors.erasure.command:forget",
        "Erase people from every table, and keep their events out from then on.",
    ),
    "dead-letters": (
        "producers.mapping.letters:dead_letters",
        "List, show, edit and resend records that could not be processed.",
    ),
    "forecast": (
        "processors.virality.commands:forecast_group",
        "The forecast of final shares: fit it to finished posts, backtest it.",
    ),
    "calibrate": (
        "processors.calibration.command:calibrate_forecast",
        "Learn the forecast's parameters of each channel from its finished posts.",
    ),
    "alerts": (
        "processors.alerts.commands:alerts",
        "Check the alerts file: is it valid, which receiver gets which alert.",
    ),
    "spikes": (
        "processors.spikes.commands:spikes",
        "Backtest the spike detector: which spikes it would have reported, and how well.",
    ),
    "serve": ("pipeline.page.command:serve_page", "The live page: what rises now and why, in a browser."),
    "schema": ("pipeline.commands:schema", "JSON Schema of events, or AsyncAPI of all topics."),
}


@cache
def all_commands() -> CommandTable:
    """Returns the commands of all tables, in the order of the help text."""
    return {**SETUP_COMMANDS, **load_attribute(SOURCES_TABLE), **COLLECTOR_COMMANDS, **PROCESSING_COMMANDS}


def load_attribute(place: str) -> Any:
    """Imports a module and returns an attribute; `place` is `module:attribute`."""
    module, attribute = place.split(":")
    return getattr(import_module(module), attribute)


class LazyGroup(CommandGroup):
    """A group with lazily imported commands: `engagement schema` does not wait for numba."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of all commands."""
        return list(all_commands())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Imports a command; None for an unknown name."""
        if name not in all_commands():
            return None
        command: click.Command = load_attribute(all_commands()[name][0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes names and help texts without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in all_commands().items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: engagement demo",
)
@click.version_option(package_name="engagement-pipeline")
def engagement() -> None:
    """Count likes, shares and comments as they happen: Kafka in, Faust folds, ClickHouse answers.

    Every command exits with 0 (done), 1 (failed, a check not passed, or nothing read from its files) or 2 (wrong use).
    """


def main(arguments: list[str] | None = None) -> Any:
    """Runs the console script.

    Exits with 0 when done, 1 for a failure or a failed check, 2 for wrong use; prints errors to stderr with the cure.
    """
    quiet_clients()
    try:
        engagement.main(arguments, standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EngagementError as error:
        click.echo(f"engagement: {error}", err=True)
        sys.exit(error.exit_code)
