"""The command `engagement`: a literal table of commands, each loaded only when it is called."""

import sys
from importlib import import_module
from typing import Any, Final

import click

from pipeline.errors import EngagementError

COMMANDS: Final[dict[str, str]] = {
    "stack": "pipeline.embedded.commands:stack",
    "init": "pipeline.commands:init",
    "check": "pipeline.commands:check",
    "schema": "pipeline.commands:schema",
    "simulate": "producers.commands:simulate",
    "replay": "producers.commands:replay",
    "work": "processors.commands:work",
    "recount": "processors.commands:recount",
    "dead-letters": "pipeline.dead_letters.commands:dead_letters",
    "demo": "processors.demo:demo",
}
"""Name -> where it lives. Modules of producers and processors are named, not imported: imports go one way."""


class LazyGroup(click.Group):
    """Imports a command when it is asked for, so that `engagement schema` does not wait for numba."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="engagement-pipeline")
def engagement() -> None:
    """Likes, shares and comments, counted as they happen: Kafka in, Faust folds, ClickHouse answers."""


def main(arguments: list[str] | None = None) -> Any:
    """The console script: exits 0 done, 1 failed or check not passed, 2 wrong use; errors on stderr with the cure."""
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
