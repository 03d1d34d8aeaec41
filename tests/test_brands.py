"""Brands: what an event says leads to the brands that it is about; a file that makes no sense ends with brand, field
and cure."""

from pathlib import Path

import pytest

from pipeline.brands import Brands, load_brands
from pipeline.errors import SettingsError
from pipeline.settings import load_settings
from schemas.events import conversation_keys

EXAMPLE = Path(__file__).parent.parent / "deploy/brands.example.yaml"

FILE = """
ACME:
  side: own
  accounts: [acme, acme-support]
  hashtags: ["#Acme", Straße]
  mentions: ["@Acme"]
  domains: [acme.example, bücher.example]
Sub Acme:
  side: own
  accounts: [sub, acme-support]
  hashtags: [acme]
Globex:
  side: rival
  accounts: [globex, globex-two]
  domains: [Shop.Globex.example, www.globex.co.uk., m.github.io]
"""


def _load(tmp_path: Path, text: str) -> Brands:
    path = tmp_path / "brands.yaml"
    path.write_text(text, encoding="utf-8")
    return load_brands(path)


@pytest.mark.parametrize(
    ("author", "hashtags", "mentions", "links", "keys"),
    [
        ("x", [], [], [], []),
        ("acme", [], [], [], ["acme"]),
        ("ACME", [], [], [], []),  # an actor id is meant to the letter
        ("acme-support", [], [], [], ["acme", "sub acme"]),
        ("x", ["ＡＣＭＥ"], [], [], ["acme", "sub acme"]),
        ("x", ["STRASSE"], [], [], ["acme"]),
        *(("x", [tag], [], [], ["acme", "sub acme"]) for tag in ("ac\u200bme", "\u200facme", "acme\u00ad ", " # Acme")),
        ("x", [], ["acme"], [], ["acme"]),
        ("x", ["globex"], [], [], []),  # it has no hashtag
        ("x", [], [], ["https://acme.example/a?b#c"], ["acme"]),
        ("x", [], [], ["http://user@Blog.ACME.example.:8080"], ["acme"]),
        ("x", [], [], ["acme.example/path"], ["acme"]),
        ("x", [], [], ["https://notacme.example/acme.example", "https://acme.example.evil.test"], []),
        ("x", [], [], ["https://xn--bcher-kva.example/", "https://globex.example"], ["acme"]),
        ("x", [], [], ["https://BÜCHER.example", "https://www.bücher.example:80/?a"], ["acme"]),
        ("x", [], [], ["https://bu\u0308cher。example"], ["acme"]),
        ("x", [], [], ["https://eu.shop.globex.example", "https://globex.co.uk/"], ["globex"]),
        ("x", [], [], ["https://globex.github.io/"], []),
        ("x", [], [], ["https://[::1", "", "mailto:x", "https://" + "ü" * 300 + ".example", "http://1.2.3.4"], []),
        ("globex", ["acme"], [], ["https://shop.globex.example"], ["acme", "globex", "sub acme"]),
        ("", [], [], [], []),
    ],
)
def test_what_a_post_is_about(
    author: str, hashtags: list[str], mentions: list[str], links: list[str], keys: list[str], tmp_path: Path
) -> None:
    brands = _load(tmp_path, FILE)
    assert brands.keys_of(author, conversation_keys(hashtags, mentions), links) == [f"brand:{key}" for key in keys]


def test_whose_turns_are_the_brands(tmp_path: Path) -> None:
    brands = _load(tmp_path, FILE)
    own = {"acme", "acme-support", "sub"}
    assert brands.turn_accounts("x") == own
    assert brands.turn_accounts("acme") == own
    assert brands.turn_accounts("globex") == own | {"globex", "globex-two"}


def test_no_file_and_an_empty_one_track_nothing(tmp_path: Path) -> None:
    for brands in (load_brands(None), _load(tmp_path, "# none yet\n")):
        assert brands.keys_of("acme", ["hashtag:acme"], ["https://acme.example"]) == []
        assert brands.turn_accounts("acme") == frozenset()


def test_the_example_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGEMENT_BRANDS", str(EXAMPLE))
    brands = load_brands(load_settings().brands)
    assert brands.keys_of("x", ["hashtag:acme", "hashtag:globex"], []) == ["brand:acme", "brand:globex"]
    own = {"did:plc:acme", "did:plc:acme-support", "acme"}
    assert brands.turn_accounts("did:plc:globex") == own | {"did:plc:globex", "globex"}
    # What `engagement simulate` makes up is about them too.
    assert brands.keys_of("x", ["mention:acme", "mention:globex"], []) == ["brand:acme", "brand:globex"]
    assert brands.keys_of("globex", [], []) == ["brand:globex"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- acme", "must hold brands by name"),
        ("acme: [a", "is not YAML"),
        ("acme:", "brand 'acme': must have side"),
        ("acme: {accounts: [a]}", "brand 'acme': side: is missing; say own or rival"),
        ("acme: {side: ours}", "brand 'acme': side: must be 'own' or 'rival'"),
        ("acme: {side: own, accounts: [12]}", "brand 'acme': accounts.0: must be text; put it in quotes"),
        ("acme: {side: own, accounts: a}", "brand 'acme': accounts: must be a list"),
        ("acme: {side: own, accounts: ['']}", "brand 'acme': accounts.0: must not be empty"),
        ("acme:\n  side: own\n  hashtags:\n    - #acme\n", "brand 'acme': hashtags.0: must be text; put it in quotes"),
        ("acme: {side: own, domains: ['https://acme.example']}", "brand 'acme': domains.0: must be a domain"),
        ('acme: {side: own, domains: ["a\\u200db.com"]}', "brand 'acme': domains.0: must be a domain"),
        ("acme: {side: own, domains: [com]}", "brand 'acme': domains.0: must be a domain"),
        ("acme: {side: own, tags: []}", "brand 'acme': tags: is no field of a brand"),
        ("acme: {side: own}\nacme: {side: rival}", "'acme' is there twice"),
        ("acme: {side: own, side: own}", "'side' is there twice"),
        ("acme: {side: own}\nACME: {side: rival}", "brand 'ACME': is the name of another brand too"),
        ("a: {side: own, accounts: [x]}\nb: {side: rival, accounts: [x]}", "brand 'b': accounts: 'x' is an account of"),
        ("7: {side: own}", "brand '7': a name must be text; put it in quotes"),
        ("No: {side: own}", "1: brand 'No': a name must be text; put it in quotes"),
        ("a: {side: own}\n2026-01-01: {side: own}", "2: brand '2026-01-01': a name must be text; put it in quotes"),
        ("on: {side: own}", "brand 'on': a name must be text; put it in quotes"),
        ("1.5: {side: own}", "brand '1.5': a name must be text"),
        ("~: {side: own}", "brand '~': a name must be text"),
        (
            "acme:\n  side: own\n  hashtags:\n    - ok\n    - yes\n",
            "brands.yaml:5: brand 'acme': hashtags.1: must be text",
        ),
        ("acme: {side: own, mentions: [22:30]}", "mentions.0: must be text; put it in quotes"),
        ("acme: {side: own, accounts: [2026-01-01]}", "accounts.0: must be text; put it in quotes"),
        ("acme: {side: own, domains: [1.5]}", "domains.0: must be text; put it in quotes"),
        ("acme: {side: yes}", "side: must be 'own' or 'rival'"),
        ("acme:\n  side: own\n  accounts:", "brands.yaml:3: brand 'acme': accounts: must be a list"),
        ("acme: {side: own, hashtags: ['" + "a" * 300 + "']}", "hashtags.0: must not be longer than 256"),
        ("[" * 20_000, "brands.yaml:1: more than 24 levels"),
        ("a: &a [*a]", "the anchor is part of itself"),
        ("a: b\n\tc: d", "brands.yaml:2: is not YAML"),
        ('acme: {side: own, hashtags: ["\\ud800"]}', "acme.hashtags.0: the character U+D800 is no text; leave it out"),
        ("just text", "must hold brands by name"),
        ("a: {side: own, hashtags: ['#']}", "brand 'a': hashtags: '#' has nothing behind its #; give a name"),
        ('a: {side: own, mentions: ["@\\u200b"]}', "brand 'a': mentions: '@\\u200b' has nothing behind its @"),
        ("acme: {side: own}\nac\u00adme: {side: rival}", "is the name of another brand too"),
        ("'': {side: own}", "brand '': needs a name"),
        ("? [a, b]\n: {side: own}", "brands.yaml"),
    ],
)
def test_what_makes_no_sense(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(tmp_path, text)
    assert str(caught.value).startswith("ENGAGEMENT_BRANDS: ")
    assert said in str(caught.value)


def test_anchors_merges_quotes_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    brands = _load(
        tmp_path,
        "\ufeffacme: &acme\n  side: own\n  hashtags: ['No', '12']\n'No':\n  <<: *acme\n  hashtags: [acme, other]\n",
    )
    assert brands.keys_of("x", ["hashtag:no"], []) == ["brand:acme"]
    assert brands.keys_of("x", ["hashtag:other"], []) == ["brand:no"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read \(No such file"):
        load_brands(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("é: {side: own}".encode("latin-1"))
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load_brands(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BRANDS", "/no.yaml", "/no.yaml is not a file"),
        ("BUSINESS_HOURS", "9-17", "must be two times"),
        ("BUSINESS_HOURS", "17:00-09:00", "ends before it starts"),
        ("BUSINESS_DAYS", "Mon-Fri", "must be numbers of days"),
        ("BUSINESS_ZONE", "Mars/Olympus", "is no time zone"),
        ("BUSINESS_ZONE", "../etc/passwd", "is no time zone"),
        ("BUSINESS_ZONE", "", "is no time zone"),
    ],
)
def test_settings_that_make_no_sense(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ENGAGEMENT_{name}", value)
    with pytest.raises(SettingsError, match=f"^ENGAGEMENT_{name}: .*{said}"):
        load_settings()
