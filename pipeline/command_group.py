"""Parts of commands that click does not have: suggestions for misspelt commands, ranges without infinity."""

import math
from difflib import get_close_matches
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A range of numbers. Refuses `nan`, which every comparison with a bound lets pass, and `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Converts the text of an option. Raises click.BadParameter."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number; write one such as 1.5.", param, ctx)
        return number


class CommandGroup(click.Group):
    """A click group whose error for an unknown command has suggestions."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that `args` begin with. Raises UsageError for an unknown one, with the nearest names."""
        known = self.list_commands(ctx)
        name = args[0]
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name.lower(), known, n=2)
            cure = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(known)}."
            ctx.fail(f"No such command {name!r}. {cure}")
        return super().resolve_command(ctx, args)
