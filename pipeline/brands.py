"""Brands: a YAML file of the operator that names the accounts, hashtags, mentions and domains of each brand.

    acme:
      side: own
      accounts: ["did:plc:abc", "@acme@example.social"]
      hashtags: [acme, acmelaunch]
      mentions: [acme]
      domains: [acme.example]

Accounts are actor ids exactly as in events. Names, hashtags and mentions are folded as in events
(`schemas.folding`). A domain includes its subdomains; `www.` in front makes no difference.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from pipeline.canonical_url import canonical_host, canonical_site
from pipeline.documents import read_yaml
from pipeline.errors import SettingsError
from schemas.events import ID_LENGTH, conversation_keys
from schemas.folding import fold_name, fold_tag

SETTING: Final = "ENGAGEMENT_BRANDS"
BRAND_PREFIX: Final = "brand:"
NOBODY: Final[frozenset[str]] = frozenset()


def _is_domain(value: str) -> str:
    if any(sign in value for sign in "/:@ *?#") or "." not in canonical_host(value.strip(".")):
        raise ValueError("must be a domain such as acme.example, without https:// and without a path")
    return value


Account = Annotated[str, StringConstraints(min_length=1, max_length=ID_LENGTH)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Domain = Annotated[str, AfterValidator(_is_domain)]


class Brand(BaseModel):
    """A brand of the file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    side: Literal["own", "rival"]
    accounts: list[Account] = Field(default=[])
    hashtags: list[Tag] = Field(default=[])
    mentions: list[Tag] = Field(default=[])
    domains: list[Domain] = Field(default=[])


FILE: Final[TypeAdapter[dict[str, Brand]]] = TypeAdapter(dict[str, Brand], config=ConfigDict(strict=True))


@dataclass(frozen=True)
class Brands:
    """All brands, indexed by the fields of events. Without entries no brand is tracked."""

    entries: dict[str, Brand] = field(default_factory=dict)
    """Brands by folded name."""
    by_account: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_conversation: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_domain: dict[str, tuple[str, ...]] = field(default_factory=dict)
    own: frozenset[str] = NOBODY
    """The accounts of own brands."""
    beside: dict[str, frozenset[str]] = field(default_factory=dict)
    """All accounts of an account's brands and of own brands, by account."""

    def keys_of(self, author_id: str, conversations: Iterable[str], links: Iterable[str]) -> list[str]:
        """Returns the sorted keys `brand:<name>` of the brands that an event is about.

        An event is about a brand if its author is an account of the brand, if a `hashtag:` or `mention:` key belongs to
        the brand, or if a link leads to a domain of the brand. An empty author is no account.
        """
        if not self.entries:
            return []
        found = set(self.by_account.get(author_id, ()))
        for key in conversations:
            if key in self.by_conversation:
                found.update(self.by_conversation[key])
        if self.by_domain:
            for link in links:
                for domain in _domains_above(canonical_host(link)):
                    found.update(self.by_domain.get(domain, ()))
        return sorted(found) if found else []

    def turn_accounts(self, author_id: str) -> frozenset[str]:
        """Returns the accounts that speak for the brand on a post of this author, beside the author.

        These are the accounts of own brands and of the brands that the author is an account of.
        """
        return self.beside.get(author_id, self.own)


def load_brands(path: Path | None) -> Brands:
    """Reads the brands of a file; no file means no brands. Blocks on reading.

    Raises SettingsError that names file, brand and field.
    """
    if path is None:
        return Brands()
    try:
        content = read_yaml(path)
        return brands_of(FILE.validate_python({} if content is None else content))
    except SettingsError as error:
        raise SettingsError(f"{SETTING}: {error}") from None
    except ValidationError as error:
        raise SettingsError(f"{SETTING}: {path}: {_explain(error)}") from None
    except ValueError as error:
        raise SettingsError(f"{SETTING}: {path}: {error}") from None


def brands_of(named: dict[str, Brand]) -> Brands:
    """Indexes brands by name. Raises ValueError where two names fold to one or an account is on both sides."""
    entries: dict[str, Brand] = {}
    for name, brand in named.items():
        folded = fold_name(name)
        if not folded or folded in entries:
            raise ValueError(f"brand {name!r}: " + ("is the name of another brand too" if folded else "needs a name"))
        for field_name, tags, sign in (("hashtags", brand.hashtags, "#"), ("mentions", brand.mentions, "@")):
            for tag in tags:
                if not fold_tag(tag, sign):
                    raise ValueError(
                        f"brand {name!r}: {field_name}: {tag!r} has nothing behind its {sign}; give a name"
                    )
        entries[folded] = brand
    own = frozenset(account for brand in entries.values() if brand.side == "own" for account in brand.accounts)
    for name, brand in entries.items():
        if brand.side == "rival" and (shared := sorted(own.intersection(brand.accounts))):
            raise ValueError(f"brand {name!r}: accounts: {shared[0]!r} is an account of an own brand; leave one out")
    by_account = _inverted((account, name) for name, brand in entries.items() for account in brand.accounts)
    return Brands(
        entries=entries,
        by_account=by_account,
        by_conversation=_inverted(
            (key, name) for name, brand in entries.items() for key in conversation_keys(brand.hashtags, brand.mentions)
        ),
        by_domain=_inverted(
            (canonical_site(domain), name) for name, brand in entries.items() for domain in brand.domains
        ),
        own=own,
        beside={
            account: own.union(*(entries[key.removeprefix(BRAND_PREFIX)].accounts for key in keys))
            for account, keys in by_account.items()
        },
    )


def _explain(error: ValidationError) -> str:
    flaw = error.errors(include_url=False, include_input=False, include_context=False)[0]
    reason = flaw["msg"].removeprefix("Value error, ")
    if not flaw["loc"]:
        return "must hold brands by name: acme: {side: own, accounts: [...]}"
    name, *fields = flaw["loc"]
    if fields == ["[key]"]:
        return f"brand {name!r}: a name must be text; put it in quotes"
    if not fields:
        return f"brand {name!r}: must have side and some of accounts, hashtags, mentions, domains"
    if flaw["type"] == "string_type":
        reason = "must be text; put it in quotes (without them # begins a comment and @ is no text)"
    elif flaw["type"] == "extra_forbidden":
        reason = "is no field of a brand; it has side, accounts, hashtags, mentions, domains"
    elif flaw["type"] == "missing":
        reason = "is missing; say own or rival"
    elif flaw["type"] == "list_type":
        reason = "must be a list: [one, two]"
    return f"brand {name!r}: {'.'.join(map(str, fields))}: {reason}"


def _inverted(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Inverts pairs of a field's value and a brand's name: value -> sorted keys of its brands."""
    found: dict[str, set[str]] = {}
    for value, name in pairs:
        found.setdefault(value, set()).add(BRAND_PREFIX + name)
    return {value: tuple(sorted(names)) for value, names in found.items()}


def _domains_above(host: str) -> Iterator[str]:
    """Yields a host and all parent domains."""
    while host:
        yield host
        host = host.partition(".")[2]
