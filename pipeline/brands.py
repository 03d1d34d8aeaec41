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
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails

from pipeline.canonical_url import canonical_host, canonical_site
from pipeline.errors import SettingsError
from pipeline.files.field_flaws import flaw_reason
from pipeline.files.yaml_documents import Document, Place, Unquoted, read_yaml
from schemas.events import ID_LENGTH, conversation_keys
from schemas.folding import fold_name, fold_tag

SETTING: Final = "ENGAGEMENT_BRANDS"
BRAND_PREFIX: Final = "brand:"
EXAMPLE_PATH: Final = "deploy/brands.example.yaml"
NEEDS_QUOTES: Final = "must be text; put it in quotes (without them # begins a comment, @ is no text, No a boolean)"
NOBODY: Final[frozenset[str]] = frozenset()


def _is_quoted(value: Any) -> Any:
    if isinstance(value, Unquoted):
        raise ValueError(NEEDS_QUOTES)
    return value


def _is_domain(value: str) -> str:
    if any(sign in value for sign in "/:@ *?#") or "." not in canonical_host(value.strip(".")):
        raise ValueError("must be a domain such as acme.example, without https:// and without a path")
    return value


BrandName = Annotated[str, BeforeValidator(_is_quoted)]
Account = Annotated[str, BeforeValidator(_is_quoted), StringConstraints(min_length=1, max_length=ID_LENGTH)]
Tag = Annotated[str, BeforeValidator(_is_quoted), StringConstraints(min_length=1, max_length=256)]
Domain = Annotated[str, BeforeValidator(_is_quoted), AfterValidator(_is_domain)]


class Brand(BaseModel):
    """A brand of the file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    side: Literal["own", "rival"]
    accounts: list[Account] = Field(default=[])
    hashtags: list[Tag] = Field(default=[])
    mentions: list[Tag] = Field(default=[])
    domains: list[Domain] = Field(default=[])


FILE: Final[TypeAdapter[dict[BrandName, Brand]]] = TypeAdapter(dict[BrandName, Brand], config=ConfigDict(strict=True))


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
        return _brands_in(read_yaml(path))
    except SettingsError as error:
        raise SettingsError(f"{SETTING}: {error}") from None


class BrandFlaw(ValueError):
    """A flaw at `place`, which begins with the name of a brand."""

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(f"brand {place[0]!r}: {reason}")
        self.place = place


def brands_of(named: dict[str, Brand]) -> Brands:
    """Indexes brands by name. Raises BrandFlaw where two names fold to one or an account is on both sides."""
    entries: dict[str, Brand] = {}
    for name, brand in named.items():
        folded = fold_name(name)
        if not folded or folded in entries:
            raise BrandFlaw(
                (name,), "is the name of another brand too; rename one of them" if folded else "needs a name; write one"
            )
        for field_name, tags, sign in (("hashtags", brand.hashtags, "#"), ("mentions", brand.mentions, "@")):
            for number, tag in enumerate(tags):
                if not fold_tag(tag, sign):
                    raise BrandFlaw(
                        (name, field_name, number), f"{field_name}: {tag!r} has nothing behind its {sign}; give a name"
                    )
        entries[folded] = brand
    own = frozenset(account for brand in entries.values() if brand.side == "own" for account in brand.accounts)
    for name, brand in named.items():
        if brand.side == "rival" and (shared := sorted(own.intersection(brand.accounts))):
            raise BrandFlaw((name,), f"accounts: {shared[0]!r} is an account of an own brand; leave one out")
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


def _brands_in(document: Document) -> Brands:
    try:
        return brands_of(FILE.validate_python({} if document.content is None else document.content))
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False)[0]
        raise document.error(flaw["loc"], _explain(flaw), shown=0) from None
    except BrandFlaw as error:
        raise document.error(error.place, str(error), shown=0) from None


def _explain(flaw: ErrorDetails) -> str:
    """Returns the brand, the field, the reason and the cure of a flaw."""
    if not flaw["loc"]:
        return "must hold brands by name: acme: {side: own, accounts: [...]}"
    name, *fields = flaw["loc"]
    if fields == ["[key]"]:
        return f"brand {name!r}: a name must be text; put it in quotes"
    if not fields:
        return f"brand {name!r}: must have side and some of accounts, hashtags, mentions, domains"
    reasons = {
        "string_type": NEEDS_QUOTES,
        "extra_forbidden": "is no field of a brand; it has side, accounts, hashtags, mentions, domains",
        "missing": "is missing; say own or rival",
    }
    reason = reasons.get(flaw["type"]) or flaw_reason(flaw, EXAMPLE_PATH)
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
