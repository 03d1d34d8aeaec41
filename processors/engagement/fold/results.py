"""The answers of the fold: what a run of events changed, and what posts and panes look like."""

from typing import NamedTuple

from processors.columnar.arrays import Array


class FoldedEvents(NamedTuple):
    """The outcome of each event of a run, and the posts and panes whose rows have to be written: sorted, each once."""

    outcomes: Array  # u1 per event: NEW, LATE, DUPLICATE, CONFLICTING of kernels.py
    posts: Array
    panes: Array


class Snapshot(NamedTuple):
    """The numbers of n posts as of the end of the newest minute of each, with measures and windows in the order of
    MEASURES and WINDOWS."""

    events_seen: Array  # n
    as_of: Array  # n, minutes since 1970
    net: Array  # n x measures
    actors: Array  # n
    unmatched: Array  # n
    channels: Array  # n
    entropy: Array  # n, bits, NaN without engagement
    hot: Array  # n, log2, NaN without engagement
    windows: Array  # n x windows x (this, the one before) x measures, net
    actors_of: Array  # n x measures
    concentration: Array  # n, share of the actors' net engagements by their most active hundredth; NaN without any
    trees: "Trees"


class Trees(NamedTuple):
    """The numbers of the trees of n posts: all, shares, comments, in this order. All are 0 where `truncated`."""

    truncated: Array  # n, bool: more events than the trees take
    sizes: Array  # n x 3, nodes with the post
    depths: Array  # n x 3
    breadths: Array  # n x 3
    wieners: Array  # n x 3, u8
    levels: Array  # n x 3 x LEVELS_SHOWN, nodes of level 1, 2, ...
    named: Array  # n x 3, net events with a parent_id


class Panes(NamedTuple):
    """The contents of n panes, each of a post and a minute."""

    posts: Array
    minutes: Array
    adds: Array  # n x measures
    retracted: Array  # n x measures
    events_seen: Array  # n, of those that can change the pane: what the version of its row counts
