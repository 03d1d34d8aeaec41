"""The layout of the fold's tables: the fields of their rows, the flags of nodes, the numbers of trees and measures.

The rows of panes and of their losses are declared in processors/columnar/panes.py, because virality reads them too.
"""

from typing import Any, Final

import numpy as np

from processors.columnar.panes import LOSS, PANE
from schemas.metrics import MEASURE_COUNT, NODE_MEASURES

# Places in `Tables.sizes`: the number of rows that are in use of each table.
N_EVENTS: Final = 0
N_ACTORS: Final = 1
N_TAKEBACKS: Final = 2
N_PANES: Final = 3
N_TAKEN: Final = 4
N_CHANNELS: Final = 5
N_WAITING: Final = 6
N_NODES: Final = 7
N_LEVELS: Final = 8
N_TALLIES: Final = 9
N_TREES: Final = 10
N_WAITERS: Final = 11  # nodes that wait for a parent, in whichever list

SHARE_TREE: Final = 1
COMMENT_TREE: Final = 2
TREE_COUNT: Final = 3
"""The number of trees of a post. Tree 0 has all nodes, the others its shares and its comments."""

MEASURE_OF_TREE: Final = np.array([-1, *NODE_MEASURES], np.int8)
"""The measure of the nodes of each tree; -1 for the tree of all nodes."""

TREE_OF: Final = np.zeros(MEASURE_COUNT + 1, np.int8)
"""The tree of the nodes of each measure, 0 for a measure whose events are only counted. The last element stands for -1,
the measure of posts."""
TREE_OF[list(NODE_MEASURES)] = SHARE_TREE, COMMENT_TREE

# Flags of a node.
COUNTED: Final = np.uint8(1)  # no retraction names it
NAMES: Final = np.uint8(2)  # it names a parent that is not the post
COMMENT: Final = np.uint8(4)  # it is a comment, not a share
MIXED: Final = np.uint8(8)  # its parent is a share or comment of the other kind
ERASED: Final = np.uint8(16)  # a tombstone: it never counts, and only carries the nodes below it

POST_ROW: Final = np.dtype(
    [
        ("events_seen", "u4"),  # a tombstone counts twice: an event and its erasure
        ("newest", "u4"),  # minute of the newest event of any kind
        ("net", "u4", MEASURE_COUNT),
        ("actors", "u4"),
        ("actors_of", "u4", MEASURE_COUNT),  # distinct actors of the net events of each measure
        ("takebacks", "u4"),
        ("ordered", "u4"),  # newest pane of the list in which each is older than the one before
        ("channels", "u4"),
        ("hot", "f8"),  # weighted net engagement, decayed to the end of hot_minute
        ("hot_minute", "u4"),
        ("touched", "u4"),  # number of the last run that had an event of it
        ("hot_stale", "u1"),  # something was taken back: the sum has to be built anew from the panes
        # Fields that few events need come last.
        ("partition", "u2"),
        ("post_events", "u4"),  # events of kind post, retractions included
        ("unmatched", "u4"),
        ("late", "u4"),  # first of the panes that came when a newer one was there, in no order
        ("tallies", "u4"),  # first of its tallies, the smallest
        ("tree", "u4"),  # NONE: neither shares nor comments have come
        ("levels", "u4", TREE_COUNT),  # level 1 of the tree of all, of shares, of comments; NONE: none yet
        ("created", "u4"),  # minute of the post itself; NONE: not known. Set by `Fold.learn`, as is `author`
        ("author", "u8"),  # hash of its author; 0: not known
    ]
)
EVENT_ROW: Final = np.dtype(
    [
        ("post", "u4"),
        ("key", "u8"),
        ("actor", "u4"),  # of a like its actor, of a share or comment its node, which has the actor
        ("channel", "u4"),
        ("minute", "u4"),
        ("check", "u4"),
        ("measure", "i1"),
    ]
)
ACTOR_ROW: Final = np.dtype([("post", "u4"), ("key", "u8"), ("counts", "u4", MEASURE_COUNT)])
TAKEBACK_ROW: Final = np.dtype([("post", "u4"), ("key", "u8"), ("count", "u4"), ("minute", "u4"), ("ties", "u4")])
CHANNEL_ROW: Final = np.dtype([("post", "u4"), ("key", "u8"), ("next", "u4"), ("count", "u4")])
WAITING_ROW: Final = np.dtype([("post", "u4"), ("key", "u8"), ("head", "u4")])
NODE_ROW: Final = np.dtype(
    [
        ("event", "u4"),
        ("actor", "u4"),
        ("beside", "u4"),  # the next node of the same post and minute
        ("parent", "u4"),  # NONE: the post. While it waits: the next that waits for the same
        ("across", "u4"),  # the nearest ancestor of the kind that the parent is not; NONE: none
        ("level", "u4"),  # in the tree of all; NONE: it is in no tree, because a parent of it is not known
        ("kin_level", "u4"),  # in the tree of its own kind
        ("size", "u4"),  # counted nodes below and at it in the tree of all. While it waits: half of its parent's hash
        ("kin_size", "u4"),  # the same in the tree of its own kind. While it waits: the other, higher half
        ("flags", "u1"),  # COUNTED, NAMES, COMMENT, MIXED, ERASED
    ]
)
LEVEL_ROW: Final = np.dtype([("next", "u4"), ("depth", "u4"), ("count", "u4")])
TREE_ROW: Final = np.dtype(
    [
        ("post", "u4"),
        ("nodes", "u4"),  # shares and comments that came, those taken back as well
        ("waits", "u4"),  # nodes in lists of `waiting`
        ("named", "u4", TREE_COUNT - 1),  # of the net shares and of the net comments, those that name a parent
        ("squares", "u8", TREE_COUNT),  # per tree (all, shares, comments): sum of the squares of the sizes of its nodes
        ("climbed", "u4"),  # steps up its trees since the sizes were last looked at
        ("stale", "u1"),  # sizes and squares have to be built anew
        ("twins", "u1"),  # a share and a comment have the same event_id: all of the trees has to be built anew
    ]
)
TALLY_ROW: Final = np.dtype([("post", "u4"), ("next", "u4"), ("value", "u4"), ("actors", "u4")])

KEYED: Final[dict[str, np.dtype[Any]]] = {
    "events": EVENT_ROW,
    "actors": ACTOR_ROW,
    "takebacks": TAKEBACK_ROW,
    "panes": PANE,
    "taken": LOSS,
    "channels": CHANNEL_ROW,
    "waiting": WAITING_ROW,
}
"""Tables with an index, in the order of `Tables.sizes`."""

LISTED: Final[dict[str, np.dtype[Any]]] = {
    "nodes": NODE_ROW,
    "levels": LEVEL_ROW,
    "tallies": TALLY_ROW,
    "trees": TREE_ROW,
}
"""Tables without an index, whose rows are found through those of others. They follow in `Tables.sizes`."""

ROWS_PER_EVENT: Final = {
    "events": 1,
    "actors": 1,
    "takebacks": 1,
    "panes": 2,  # its own, and that of the retraction that was waiting for it
    "taken": 2,
    "channels": 1,
    "waiting": 1,
    "nodes": 1,
    "levels": 2,  # and as many for each node that waits: one event may put all of them into the trees
    "tallies": 2,
    "trees": 1,
}
"""The largest number of rows that one event can add."""

OF_NODES: Final = frozenset({"waiting", "nodes", "levels", "trees"})
"""Tables to which only shares and comments add."""

REFERENCES: Final = (
    ("posts", "ordered", "panes"),
    ("posts", "late", "panes"),
    ("posts", "channels", "channels"),
    ("posts", "tallies", "tallies"),
    ("posts", "tree", "trees"),
    ("posts", "levels", "levels"),
    ("events", "channel", "channels"),
    ("panes", "next", "panes"),
    ("panes", "taken", "taken"),
    ("panes", "nodes", "nodes"),
    ("channels", "next", "channels"),
    ("waiting", "head", "nodes"),
    ("nodes", "event", "events"),
    ("nodes", "actor", "actors"),
    ("nodes", "beside", "nodes"),
    ("nodes", "parent", "nodes"),
    ("nodes", "across", "nodes"),
    ("nodes", "level", "levels"),
    ("nodes", "kin_level", "levels"),
    ("levels", "next", "levels"),
    ("tallies", "next", "tallies"),
)
"""(table, field, table of the row that it names or NONE), all but events.actor."""
