"""The command `engagement`: a literal table of commands, each loaded only when it is called."""

import sys
from importlib import import_module
from typing import Any, Final

import click

from pipeline.errors import EngagementError
from pipeline.observability.logs import quiet_clients

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": (
        "pipeline.demo.command:demo",
        "Everything on the embedded stack, results shown and checked against a recount.",
    ),
    "stack": ("pipeline.embedded.commands:stack", "The embedded Kafka and ClickHouse: up, down, status."),
    "check": ("pipeline.commands:check", "Is everything that is needed here, reachable, of a known version?"),
    "init": ("pipeline.commands:init", "Topics, tables and views, again and again without harm."),
    "simulate": (
        "producers.commands:simulate",
        "Made-up cascades of posts, likes, shares and comments, seeded and repeatable.",
    ),
    "replay": ("producers.commands:replay", "Events from files, as fast as possible or on a time scale."),
    "work": ("processors.commands:work", "The Faust worker: reads Kafka, folds, keeps the tables exact."),
    "recount": ("processors.commands:recount", "Derived rows anew from the log of events, or only compared."),
    "dead-letters": (
        "pipeline.dead_letters.commands:dead_letters",
        "What could not be taken, and giving it another try.",
    ),
    "forecast": (
        "processors.virality.commands:forecast",
        "The forecast of final shares: learn it from finished posts, judge it on history.",
    ),
    "alerts": ("processors.alerts.commands:alerts", "Who is told of spikes: is the file right, who gets what."),
    "spikes": (
        "processors.spikes.commands:spikes",
        "The spike detector on history: what would have fired, and how good.",
    ),
    "schema": ("pipeline.commands:schema", "JSON Schema of events, AsyncAPI of all topics."),
}
"""Name -> where it lives and what it does. Modules of producers and processors are named, not imported: imports go one
way."""


class LazyGroup(click.Group):
    """Imports a command when it is asked for, so that `engagement schema` does not wait for numba."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without loading what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])


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
