"""An erasure from its first step to its last, while workers run (docs/architecture.md#erasure).

    1. refuse   the hashes of people, posts and ids are stored; workers let no event of these in any more
    2. the log  tombstones and events without names take the place of the events
    3. fold     engagement agents empty their memory, so what they store from now on follows from the new log
    4. posts    rows of the affected posts are folded anew, older ones deleted
    5. count    conversation agents read the cells again: these are right now, and so is what agents add up from now on
    6. minutes  minutes of conversations are added up anew; spikes and dead letters lose the names
    7. roll     workers end what they roll up; from now on they roll days up from minutes that are right
    8. days     days of conversations are rolled up anew
    9. done     the record

Steps 1, 3, 5 and 7 wait until the owner of each partition has acked. Each step may be repeated, and what a crash has
left to do lies in the table `erasing`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import SettingsError
from pipeline.privacy.erased_hashes import CHECK_TEXT, KEY_SETTING, ErasedKind, ErasureKey
from pipeline.privacy.erasure_store import COUNT, DONE, FOLD, REFUSE, ROLL, ErasureStep, ErasureStore
from pipeline.settings import Settings
from processors.conversation.store import ClickHouseConversations
from processors.erasure.conversations import RecountedConversations
from processors.erasure.deletion import Deletion
from processors.erasure.log import ERASED_POSTS, ErasedLog, FoundEvents
from processors.erasure.others import NamingRows
from processors.erasure.people import People
from processors.erasure.posts import RefoldedPosts, delete_copies
from processors.erasure.tombstones import Eraser

STEPS: Final = (REFUSE, "log", FOLD, "posts", COUNT, "minutes", ROLL, "days", DONE)
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
    """The result of an erasure. `seconds`: the time that each of STEPS took."""

    people: int
    posts: int = 0
    events: int = 0
    refolded: int = 0
    minutes: int = 0
    spikes: int = 0
    dead_letters: int = 0
    epoch: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


class Erasure:
    """The erasure of some people. One thread runs it."""

    def __init__(self, settings: Settings, key: ErasureKey, people: People, ports: ErasurePorts) -> None:
        self._settings, self._key, self._people, self._ports = settings, key, people, ports
        self._store = ErasureStore(ports.clickhouse)
        self._deletion = Deletion(ports.clickhouse, settings)
        self._log = ErasedLog(ports.clickhouse, self._deletion, people)
        self._began = time.monotonic()

    def run(self) -> Erased:
        """Erases the people. Blocks. Raises SettingsError for another key, CheckFailed where workers do not take up a
        step, Unavailable, Refused; may be repeated."""
        done, store, ports = Erased(len(self._people.accounts)), self._store, self._ports
        self._began = time.monotonic()
        store.hashes(self._key)
        self._deletion.begin()
        found, eraser = self._refuse(done)
        self._note(REFUSE, done)
        done.events = self._log.erase(found, eraser)
        done.posts = len(self._deletion.keys(ERASED_POSTS))
        ports.say(f"{done.events:,} events erased, {done.posts:,} posts among them with all that lay under them")
        self._note("log", done)
        self._step(FOLD, done)
        self._fold(done, found, eraser)
        self._step(COUNT, done)
        self._count(done, eraser)
        self._step(ROLL, done)
        self._conversations().roll_days_anew(self._people)
        self._note("days", done)
        self._deletion.purge()
        self._deletion.end()
        store.record(done.epoch, ErasureStep(DONE, done.people, done.posts, done.events))
        self._note(DONE, done)
        return done

    def _note(self, step: str, done: Erased) -> None:
        """Notes that a step is done, and its time."""
        now = time.monotonic()
        done.seconds[step] = round(now - self._began, 3)
        self._began = now
        self._ports.after_step(step)

    def _refuse(self, done: Erased) -> tuple[FoundEvents, Eraser]:
        """Does step 1. Repeats it while the search finds more posts or ids, which came before workers knew of it."""
        known: Mapping[ErasedKind, Sequence[int]] = {}
        found: FoundEvents | None = None
        while True:
            found = self._log.find(earlier=found)
            done.epoch = self._store.epoch() + 1
            eraser = Eraser(self._people, found.posts, found.addresses, self._key.other_id, done.epoch)
            hashes = self._hashes(found, eraser)
            if hashes == known:
                return found, eraser
            self._store.add_hashes(hashes, done.epoch)
            self._step(REFUSE, done)
            known = hashes

    def _hashes(self, found: FoundEvents, eraser: Eraser) -> Mapping[ErasedKind, Sequence[int]]:
        return {
            "check": self._key.hashes([CHECK_TEXT]).tolist(),
            **self._people.hashes(self._key),
            "post": sorted(self._key.hashes(sorted(found.posts)).tolist()),
            "id": sorted(self._key.hashes([text for text in sorted(found.ids) if eraser.names(text)]).tolist()),
        }

    def _step(self, step: str, done: Erased) -> None:
        done.epoch = self._store.epoch() + 1
        self._store.record(done.epoch, ErasureStep(step, done.people, done.posts, done.events))
        self._ports.wait(done.epoch)
        if step != REFUSE:
            self._note(step, done)

    def _conversations(self) -> RecountedConversations:
        return RecountedConversations(self._ports.clickhouse, self._ports.cells, self._deletion)

    def _fold(self, done: Erased, found: FoundEvents, eraser: Eraser) -> None:
        conversations = self._conversations()
        gone = self._people.author_keys(conversations.channels())
        conversations.note(gone)
        posts = self._ports.posts(self._deletion)
        for done.refolded in posts.fold_anew(gone):
            self._ports.say(f"{done.refolded:,} posts folded anew")
        posts.clean(self._log.naming_posts(found), eraser)
        delete_copies(self._deletion)
        self._note("posts", done)

    def _count(self, done: Erased, eraser: Eraser) -> None:
        conversations = self._conversations()
        gone = self._people.author_keys(conversations.channels())
        lateness, of = self._settings.lateness_seconds, self._settings.partitions
        for done.minutes in conversations.add_up_anew(of, lateness):
            self._ports.say(f"{done.minutes:,} minutes of conversations added up anew")
        rows = NamingRows(self._ports.clickhouse, self._deletion, eraser)
        done.spikes, done.dead_letters = rows.erase_spikes(gone), rows.delete_letters()
        rows.delete_habits()
        rows.delete_messages()
        self._note("minutes", done)


def require_key(key: ErasureKey | None) -> ErasureKey:
    """Returns the key. Raises SettingsError where there is none."""
    if key is None:
        raise SettingsError(
            f"{KEY_SETTING} is not set: it keeps in mind who was erased, without the name. Make one by "
            "`openssl rand -hex 32`, and give it to all workers too"
        )
    return key
