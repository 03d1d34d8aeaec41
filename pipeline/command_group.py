"""A group of commands with suggestions for misspelt commands, as click has suggestions for options."""

from difflib import get_close_matches

import click


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
