"""The sources of events: one file a source, one line in the table.

A source's file has a subclass of Source and the command that sends it. CONTRIBUTING.md ("Add a source") has the steps.
"""

from typing import Final

SOURCES: Final[dict[str, tuple[str, str]]] = {
    "simulate": (
        "producers.sources.simulate:simulate",
        "Made-up cascades of posts, likes, shares and comments, seeded and repeatable.",
    ),
    "gharchive": (
        "producers.sources.gharchive:gharchive",
        "Stars, forks and comments on GitHub, from files of GH Archive or fetched by the hour.",
    ),
    "import": (
        "producers.sources.import_:import_rows",
        "Rows of foreign files (CSV, NDJSON, Parquet) or topics, mapped by a YAML file.",
    ),
    "mastodon": (
        "producers.sources.mastodon:mastodon",
        "Statuses, answers, favourites and boosts of a Mastodon server.",
    ),
    "replay": ("producers.sources.replay:replay_files", "Events from files, as fast as possible or on a time scale."),
    "bluesky": ("producers.sources.bluesky:bluesky", "Bluesky, live: likes, reposts, replies, posts and undo."),
}
"""Command -> its place and its help, as in pipeline/cli.py. A source is imported when its command is called."""
