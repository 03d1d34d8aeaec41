"""The ages at which retention deletes rows, and its waits."""

from dataclasses import dataclass
from typing import Final

from pipeline.settings import Settings

_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True)
class RetentionPolicy:
    """Days that rows are kept; None: for ever.

    `posts_days`: log, panes, cells and history of a post, counted from its newest event. `conversations_days`: minutes
    of conversations. `history_days`: rows of the history of posts that stand. A post whose row was written within
    `quiet_seconds` is left alone, because its events are still coming. A marked post goes after `grace_seconds`, in
    which every worker looks for marks (read_through.RETIRED_LOOK_SECONDS) and finishes its batch. At most `at_once`
    posts go together.
    """

    posts_days: float | None = None
    conversations_days: float | None = None
    history_days: float | None = None
    quiet_seconds: float = 3600
    grace_seconds: float = 120
    at_once: int = 500_000

    @property
    def deletes(self) -> bool:
        """Whether anything is deleted at all."""
        return any(days is not None for days in (self.posts_days, self.conversations_days, self.history_days))


def retention_policy(settings: Settings) -> RetentionPolicy:
    """Makes the policy from the settings."""
    return RetentionPolicy(
        settings.retention_posts_days, settings.retention_conversations_days, settings.retention_history_days
    )


def cut(now: float, days: float) -> int:
    """Returns the time before which rows are deleted, a full minute, in seconds since 1970."""
    return max(0, int(now - days * _DAY_SECONDS) // 60 * 60)
