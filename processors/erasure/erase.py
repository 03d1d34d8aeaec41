"""An erasure from its first step to its last, while workers run (docs/architecture.md#erasure).

    1. refuse   the hashes of people, posts and ids are stored; workers let no event of these in any more
    2. the log  tombstones and events without names take the place of the events
    3. fold     workers empty their memory, so what they store from now on follows from the new log
    4. posts    rows of the affected posts are folded anew, older ones deleted
    5. count    workers empty their memory again: cells are right now, and so is what they add up from now on
    6. minutes  minutes of conversations are added up anew; spikes and dead letters lose the names
    7. done     the record

Steps 1, 3 and 5 wait until the owner of each partition has acked. Each step may be repeated, and what a crash has left
to do lies in the table `erasing`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import SettingsError
from pipeline.privacy.erased_hashes import CHECK_TEXT, KEY_SETTING, ErasedKind, ErasureKey
from pipeline.privacy.erasure_store import DONE, ErasureStep, ErasureStore
from pipeline.settings import Settings
from processors.conversation.store import ClickHouseConversations
from processors.erasure.conversations import RecountedConversations
from processors.erasure.deletion import Deletion
from processors.erasure.log import ERASED_POSTS, ErasedLog, FoundEvents
from processors.erasure.others import NamingRows
from processors.erasure.people import People
from processors.erasure.posts import RefoldedPosts
from processors.erasure.tombstones import Eraser

REFUSE_STEP: Final = "refuse"
FOLD_STEP: Final = "fold"
COUNT_STEP: Final = "count"
STEPS: Final = (REFUSE_STEP, "log", FOLD_STEP, "posts", COUNT_STEP, "minutes", DONE)
"""The steps, in order, as `after_step` is told."""


@dataclass(frozen=True)
class ErasurePorts:
    """All that an erasure reaches outside of itself. `wait`: blocks until all workers have taken up an epoch; `say`:
    tells of progress; `after_step`: is called with each of STEPS once the step is done."""

    clickhouse: ClickHouse
    cells: ClickHouseConversations
    posts: Callable[[Deletion], RefoldedPosts]
    wait: Callable[[int], None]
    say: Callable[[str], None] = lambda line: None
    after_step: Callable[[str], None] = lambda step: None


@dataclass
class Erased:
    """What an erasure did, or would do."""

    people: int
    posts: int = 0
    events: int = 0
    refolded: int = 0
    minutes: int = 0
    spikes: int = 0
    dead_letters: int = 0
    epoch: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


class Erasure:
    """The erasure of some people. One thread runs it."""

    def __init__(self, settings: Settings, key: ErasureKey, people: People, ports: ErasurePorts) -> None:
        self._settings, self._key, self._people, self._ports = settings, key, people, ports
        self._store = ErasureStore(ports.clickhouse)
        self._deletion = Deletion(ports.clickhouse, settings)
        self._log = ErasedLog(ports.clickhouse, self._deletion, people)

    def run(self) -> Erased:
        """Erases the people. Blocks. Raises SettingsError for another key, CheckFailed where workers do not take up a
        step, Unavailable, Refused; may be repeated."""
        done, store, ports = Erased(len(self._people.accounts)), self._store, self._ports
        store.hashes(self._key)
        self._deletion.begin()
        found, eraser = self._refuse(done)
        ports.after_step(REFUSE_STEP)
        done.events = self._log.erase(found, eraser)
        done.posts = len(self._deletion.keys(ERASED_POSTS))
        ports.say(f"{done.events:,} events erased, {done.posts:,} posts among them with all that lay under them")
        ports.after_step("log")
        self._step(FOLD_STEP, done)
        self._fold(done)
        self._step(COUNT_STEP, done)
        self._count(done, eraser)
        self._deletion.purge()
        self._deletion.end()
        store.record(done.epoch, ErasureStep(DONE, done.people, done.posts, done.events))
        ports.after_step(DONE)
        return done

    def _refuse(self, done: Erased) -> tuple[FoundEvents, Eraser]:
        """Does step 1. Repeats it while the search finds more posts or ids, which came before workers knew of it."""
        known: Mapping[ErasedKind, Sequence[int]] = {}
        while True:
            found = self._log.find()
            done.epoch = self._store.epoch() + 1
            eraser = Eraser(self._people, found.posts, found.addresses, self._key.other_id, done.epoch)
            hashes = self._hashes(found, eraser)
            if hashes == known:
                return found, eraser
            self._store.add_hashes(hashes, done.epoch)
            self._step(REFUSE_STEP, done)
            known = hashes

    def _hashes(self, found: FoundEvents, eraser: Eraser) -> Mapping[ErasedKind, Sequence[int]]:
        return {
            "check": self._key.hashes([CHECK_TEXT]).tolist(),
            **self._people.hashes(self._key),
            "post": sorted(self._key.hashes(sorted(found.posts)).tolist()),
            "id": sorted(self._key.hashes(self._log.other_ids(found, eraser)).tolist()),
        }

    def _step(self, step: str, done: Erased) -> None:
        done.epoch = self._store.epoch() + 1
        self._store.record(done.epoch, ErasureStep(step, done.people, done.posts, done.events))
        self._ports.wait(done.epoch)
        if step != REFUSE_STEP:
            self._ports.after_step(step)

    def _fold(self, done: Erased) -> None:
        conversations = RecountedConversations(self._ports.clickhouse, self._ports.cells, self._deletion)
        gone = self._people.author_keys(conversations.channels())
        conversations.note(gone)
        for done.refolded in self._ports.posts(self._deletion).fold_anew(gone):
            self._ports.say(f"{done.refolded:,} posts folded anew")
        self._ports.after_step("posts")

    def _count(self, done: Erased, eraser: Eraser) -> None:
        conversations = RecountedConversations(self._ports.clickhouse, self._ports.cells, self._deletion)
        gone = self._people.author_keys(conversations.channels())
        lateness, of = self._settings.lateness_seconds, self._settings.partitions
        for done.minutes in conversations.add_up_anew(of, lateness):
            self._ports.say(f"{done.minutes:,} minutes of conversations added up anew")
        rows = NamingRows(self._ports.clickhouse, self._deletion, eraser)
        done.spikes, done.dead_letters = rows.erase_spikes(gone), rows.delete_letters()
        rows.delete_habits()
        self._ports.after_step("minutes")


def require_key(key: ErasureKey | None) -> ErasureKey:
    """Returns the key. Raises SettingsError where there is none."""
    if key is None:
        raise SettingsError(
            f"{KEY_SETTING} is not set: it keeps in mind who was erased, without the name. Make one by "
            "`openssl rand -hex 32`, and give it to all workers too"
        )
    return key
