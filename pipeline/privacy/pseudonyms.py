"""Pseudonyms: keyed hashes in the place of accounts, which producers put into events before Kafka has them.

With ENGAGEMENT_PSEUDONYM_KEY every account becomes `p-` and 26 signs: HMAC-SHA-256 of the account under the key, cut to
128 bits (RFC 2104, section 5). The same account has the same pseudonym everywhere, so people are still counted once;
without the key nobody can tell which account it was, or test a guess. The accounts and mentions of ENGAGEMENT_BRANDS
stay as they are, because workers have to recognise them.

Replaced are whole fields (actor_id, author_id, each mention), and accounts inside of ids, addresses and texts as far as
their form gives them away: DIDs, `/users/NAME` and `/@NAME` of addresses, `@name` and `@name@host` of texts. The
pseudonym of an id follows from the id alone, so a post and the reactions to it stay together.
"""

import hmac
import re
from base64 import b32encode
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from pipeline.brands import Brands, load_brands
from pipeline.errors import Refused
from pipeline.holds_secrets import HoldsSecrets
from pipeline.settings import Settings
from schemas.folding import fold_tag

PSEUDONYM: Final = re.compile("p-[a-z2-7]{26}")
"""The form of a pseudonym. A value of this form stays, so events that are sent a second time stay the same."""

PSEUDONYM_BYTES: Final = 16

WITHHELD_HEADER: Final = "withheld-bytes"
"""The header of a dead letter whose bytes were left out: no event could be read in them, so accounts could not be
replaced. Holds the number of bytes."""

_ACCOUNTS: Final = ("actor_id", "author_id")
_IDS: Final = ("event_id", "post_id", "parent_id", "target_id", "quotes", "url")

_DID: Final = r"did:[a-z0-9]+:[A-Za-z0-9._:-]*[A-Za-z0-9]"
_IN_ID: Final = re.compile(_DID + r"|(?<=/users/)[^/?#\s]+|(?<=/@)[^/?#\s]+")
_IN_TEXT: Final = re.compile(_DID + r"|(?<![\w@/])@\w(?:[\w.-]*\w)?(?:@[\w.-]*\w)?")


class PseudonymousRecord(NamedTuple):
    """A record with pseudonyms: the key, which is the post_id, and the event as JSON."""

    key: bytes
    value: bytes


class Pseudonyms(HoldsSecrets):
    """Replaces accounts by pseudonyms under one key. Safe in threads."""

    def __init__(self, key: str, brands: Brands | None = None) -> None:
        """`brands`: whose accounts and mentions stay."""
        self._key, brands = key.encode(), brands or Brands()
        self._kept = {_bare(account) for account in brands.by_account}
        self._kept_names = {fold_tag(account, "@") for account in brands.by_account}
        self._kept_names.update(fold_tag(name, "@") for brand in brands.entries.values() for name in brand.mentions)
        self.of_account: Callable[[str], str] = lru_cache(maxsize=65_536)(self._of_account)
        """Returns the pseudonym of an account as events have it; the account itself where it stays."""

    def __repr__(self) -> str:
        return "Pseudonyms(***)"

    def of_mention(self, account: str) -> str:
        """Returns the pseudonym of a mentioned account. Case makes no difference, as in the keys of conversations."""
        name = fold_tag(account, "@")
        return account if not name or name in self._kept_names else self.of_account(name)

    def in_id(self, value: str) -> str:
        """Replaces the accounts inside an id or address."""
        if "did:" not in value and "/users/" not in value and "/@" not in value:
            return value
        return _IN_ID.sub(lambda found: self._unless_brand(found[0]), value)

    def in_text(self, value: str) -> str:
        """Replaces the accounts that a text mentions."""
        if "@" not in value and "did:" not in value:
            return value
        return _IN_TEXT.sub(self._in_text, self.in_id(value))

    def record(self, value: bytes) -> PseudonymousRecord:
        """Replaces the accounts of an event in JSON, in about 8 us. Raises Refused for bytes that are no event."""
        try:
            event: dict[str, Any] = from_json(value)
            for name in _ACCOUNTS:
                if event.get(name):
                    event[name] = self.of_account(event[name])
            for name in _IDS:
                if event.get(name):
                    event[name] = self.in_id(event[name])
            if event.get("mentions"):
                event["mentions"] = [account and self.of_mention(account) for account in event["mentions"]]
            if event.get("links"):
                event["links"] = [link and self.in_id(link) for link in event["links"]]
            if event.get("text"):
                event["text"] = self.in_text(event["text"])
            return PseudonymousRecord(event["post_id"].encode(), to_json(event, inf_nan_mode="constants"))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Refused(
                "an event cannot be read, so its accounts cannot be replaced (ENGAGEMENT_PSEUDONYM_KEY is set): "
                "mend the source"
            ) from None

    def _of_account(self, account: str) -> str:
        bare = _bare(account)
        if bare in self._kept or PSEUDONYM.fullmatch(account):
            return account
        digest = hmac.digest(self._key, b"engagement/account\0" + bare.encode("utf-8", "surrogatepass"), "sha256")
        return "p-" + b32encode(digest[:PSEUDONYM_BYTES]).decode("ascii").rstrip("=").lower()

    def _unless_brand(self, account: str) -> str:
        return account if fold_tag(account, "@") in self._kept_names else self.of_account(account)

    def _in_text(self, found: re.Match[str]) -> str:
        account = found[0]
        return "@" + self.of_mention(account[1:]) if account.startswith("@") else self._unless_brand(account)


def load_pseudonyms(settings: Settings) -> Pseudonyms | None:
    """Returns the pseudonyms of the settings, None without ENGAGEMENT_PSEUDONYM_KEY. Blocks on reading the file of
    brands. Raises SettingsError for a file that cannot be used."""
    if settings.pseudonym_key is None:
        return None
    return Pseudonyms(settings.pseudonym_key.get_secret_value(), load_brands(settings.brands))


def _bare(account: str) -> str:
    return account.removeprefix("@") or account
