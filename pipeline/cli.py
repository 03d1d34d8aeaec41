"""The command `engagement`: literal tables of commands, each imported only when it is called."""

import sys
from functools import cache
from importlib import import_module
from typing import Any, Final

import click

from pipeline.errors import EngagementError
from pipeline.observability.logs import quiet_clients

CommandTable = dict[str, tuple[str, str]]
"""Name -> place and help of a command."""

SETUP_COMMANDS: Final[CommandTable] = {
    "demo": (
        "pipeline.demo.command:demo",
        "Everything on the embedded stack, results shown and checked against a recount.",
    ),
    "stack": ("pipeline.embedded.commands:stack", "The embedded Kafka and ClickHouse: up, down, status."),
    "check": ("pipeline.commands:check", "Is everything that is needed here, reachable, of a known version?"),
    "init": ("pipeline.commands:init", "Topics, tables and views, again and again without harm."),
}

SOURCES_TABLE: Final = "producers.sources:SOURCES"
"""The place of the table of sources, whose commands are all in that table. Modules of producers and processors are
named, not imported: imports go one way."""

PROCESSING_COMMANDS: Final[CommandTable] = {
    "work": ("processors.commands:work", "The Faust worker: reads Kafka, folds, keeps the tables exact."),
    "recount": ("processors.commands:recount", "Derived rows anew from the log of events, or only compared."),
    "dead-letters": (
        "pipeline.dead_letters.commands:dead_letters",
        "What could not be taken, and giving it another try.",
    ),
    "forecast": (
        "processors.virality.commands:forecast_group",
        "The forecast of final shares: learn it from finished posts, judge it on history.",
    ),
    "alerts": ("processors.alerts.commands:alerts", "Who is told of spikes: is the file right, who gets what."),
    "spikes": (
        "processors.spikes.commands:spikes",
        "The spike detector on history: what would have fired, and how good.",
    ),
    "schema": ("pipeline.commands:schema", "JSON Schema of events, AsyncAPI of all topics."),
}


@cache
def all_commands() -> CommandTable:
    """Returns the commands of all tables, in the order of the help text."""
    return {**SETUP_COMMANDS, **load_attribute(SOURCES_TABLE), **PROCESSING_COMMANDS}


def load_attribute(place: str) -> Any:
    """Imports `module:attribute`."""
    module, attribute = place.split(":")
    return getattr(import_module(module), attribute)


class LazyGroup(click.Group):
    """A group that imports a command when it is called, so that `engagement schema` does not wait for numba."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(all_commands())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
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
    """Likes, shares and comments, counted as they happen: Kafka in, Faust folds, ClickHouse answers."""


def main(arguments: list[str] | None = None) -> Any:
    """The console script: exits 0 done, 1 failed or check not passed, 2 wrong use; errors on stderr with the cure."""
    quiet_clients()
    try:
        engagement.main(arguments, standalone_mode=False)
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
