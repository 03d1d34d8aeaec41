"""The people to erase, and how their accounts are found in texts. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.clickhouse.client import ExternalTables
from pipeline.privacy.erased_hashes import ErasedKind, ErasureKey, on_channel
from schemas.folding import fold_name, fold_tag

TELLING_SIGNS: Final = 5
"""An account of fewer signs, or of digits alone, is found in whole fields only: in texts, addresses and ids it could be
anything."""

NEEDLES_AT_ONCE: Final = 200
"""multiSearchAny takes fewer than 256 texts."""

_BEFORE: Final = r"(?<![\w-])(?<!\w[.@])"
_AFTER: Final = r"(?![\w-]|[.@]\w)"


@dataclass(frozen=True)
class People:
    """Accounts, on one channel or on all (None)."""

    accounts: tuple[str, ...]
    channel: str | None = None

    @classmethod
    def of(cls, accounts: Iterable[str], channel: str | None) -> "People":
        """Returns the people of these accounts, each once."""
        folded = None if channel is None else fold_name(channel)
        return cls(tuple(dict.fromkeys(accounts)), folded)

    @property
    def mentions(self) -> tuple[str, ...]:
        """The accounts as mentions name them."""
        return tuple(dict.fromkeys(name for account in self.accounts if (name := fold_tag(account, "@"))))

    @property
    def spellings(self) -> tuple[str, ...]:
        """The accounts as texts, addresses, ids and JSON may have them, those that tell enough."""
        spelled = dict.fromkeys(
            spelling
            for account in self.accounts
            for each in (account, account.removeprefix("@"), fold_tag(account, "@"))
            if len(each) >= TELLING_SIGNS and not each.isdecimal()
            for spelling in (each, json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1])
        )
        return tuple(spelled)

    @property
    def pattern(self) -> "re.Pattern[str] | None":
        """A pattern of the spellings as whole words; None where no account tells enough."""
        words = sorted(self.spellings, key=len, reverse=True)
        return re.compile(f"{_BEFORE}(?:{'|'.join(map(re.escape, words))}){_AFTER}") if words else None

    def author_keys(self, channels: Sequence[str]) -> list[str]:
        """Returns the conversations of these authors on the given channels, and those that mention them."""
        on = [self.channel] if self.channel is not None else list(channels)
        authors = [f"author:{channel}/{account}" for channel in on for account in self.accounts]
        return authors + [f"mention:{name}" for name in self.mentions]

    def hashes(self, key: ErasureKey) -> Mapping[ErasedKind, Sequence[int]]:
        """Returns the hashes by which events of these people are refused."""
        accounts = [account if self.channel is None else on_channel(self.channel, account) for account in self.accounts]
        mentions = self.mentions if self.channel is None else ()
        return {"actor": key.hashes(accounts).tolist(), "mention": key.hashes(mentions).tolist()}


def table_of(name: str, texts: Sequence[str]) -> ExternalTables:
    """Returns texts as a table of a query, with one column, `text`."""
    return {name: ("text String", [(text,) for text in texts])}


def needle_tables(texts: Sequence[str]) -> list[ExternalTables]:
    """Returns the texts in tables `needles`, each for a query with `holds_needle`."""
    starts = range(0, len(texts), NEEDLES_AT_ONCE)
    return [table_of("needles", texts[start : start + NEEDLES_AT_ONCE]) for start in starts]


def holds_needle(value: str) -> str:
    """Writes the condition that a value holds one of the texts of a table `needles`."""
    return f"multiSearchAny({value}, (SELECT groupArray(text) FROM needles))"
