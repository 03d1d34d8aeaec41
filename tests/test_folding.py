"""Spellings that people cannot tell apart are one name; the fold follows Unicode at each code point."""

import re
import sys
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import conversation_keys
from schemas.folding import IGNORABLE, PICTOGRAPHS, fold_name, fold_tag

ALL = [chr(number) for number in range(sys.maxunicode + 1)]
"""Every code point."""

HIDDEN = "\u00ad\u034f\u061c\u200b\u200c\u200d\u200e\u200f\u2060\u2066\ufe0f\ufeff\u180e\U000e0041"

SAME = {
    "acme": ["Acme", "ＡＣＭＥ", " acme", "acme\u3000", "\tacme\n", *(f"ac{sign}me" for sign in HIDDEN)],
    "fussball": ["Fußball", "FUSSBALL", "Fu\u00adß\u200bball"],
    "caf\u00e9": ["cafe\u0301", "CAFÉ", "cafe\u034f\u0301"],
    "テスト": ["ﾃｽﾄ", "テ\u200bスト"],
    "σίσυφοσ": ["ΣΊΣΥΦΟΣ", "σίσυφος"],
    "\u2764": ["\u2764\ufe0f", "\u2764\ufe0e", "\u2764\u200b", "\u200d\u2764\u200d"],
    "می\u062eواهم": ["می\u200c\u062eواهم"],
    "ශ්\u0dbbී": ["ශ්\u200d\u0dbbී"],
    "": ["", " ", "\u200b", "\u200d", "\ufe0f\ufe0f", "\u3000\u00ad", "\u3164", "\U000e0067\U000e007f"],
}
"""A folded name, and spellings of the name."""

OTHERS = [
    *("👨\u200d👩\u200d👧", "👨👩👧", "👨\u200d👩👧"),
    *("❤\ufe0f\u200d🔥", "❤\ufe0f🔥"),
    *("🏳\ufe0f\u200d🌈", "🏳\ufe0f🌈", "🏴\u200d☠\ufe0f"),
    *("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "🏴"),
    *("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "👩🏽\u200d🚀", "👩🏽🚀", "👩\u200d🚀"),
]
"""Names of which no two are the same."""


@pytest.mark.parametrize(("folded", "spelling"), [(folded, each) for folded, all_ in SAME.items() for each in all_])
def test_spellings_of_one_name(folded: str, spelling: str) -> None:
    assert fold_name(spelling) == folded
    assert fold_name(folded) == folded


def test_emoji_that_look_different_stay_different() -> None:
    assert len({fold_name(name) for name in OTHERS}) == len(OTHERS)
    assert fold_name("❤\ufe0f\u200d🔥") == fold_name("❤\u200d🔥") == fold_name("❤\u200d\u200b\u200d🔥")


@pytest.mark.parametrize(
    "tag", ["acme", "#acme", "＃acme", "﹟acme", " # acme", "\u200b#\u2060acme", "##acme", "# #acme", "#\tacme"]
)
def test_a_hashtag_is_its_name_without_the_sign(tag: str) -> None:
    assert conversation_keys([tag], None) == ["hashtag:acme"]
    assert conversation_keys(None, [tag.replace("#", "@").replace("＃", "＠").replace("﹟", "﹫")]) == ["mention:acme"]


def test_names_that_fold_to_nothing_are_left_out() -> None:
    assert conversation_keys(["", "#", "\u200b", "#\u200b", " ", "a:"], ["@", "＠", "\u00ad", "b"]) == [
        "hashtag:a:",
        "mention:b",
    ]


def test_ignorable_is_the_property_of_unicode_at_each_code_point() -> None:
    ours, unicode = re.compile(f"[{IGNORABLE}]"), regex.compile(r"\p{Default_Ignorable_Code_Point}")
    assert [sign for sign in ALL if ours.match(sign)] == [sign for sign in ALL if unicode.match(sign)]
    # Its derivation: format characters, without those that are displayed.
    visible = regex.compile(r"\p{Prepended_Concatenation_Mark}|[\ufff9-\ufffb\U00013430-\U0001343f]")
    formats = {sign for sign in ALL if unicodedata.category(sign) == "Cf" and not visible.match(sign)}
    assert {sign for sign in formats if not ours.match(sign)} == set()


def test_pictographs_hold_each_emoji_that_can_be_joined_and_nothing_that_folds() -> None:
    ours = re.compile(f"[{PICTOGRAPHS}]")
    emoji = regex.compile(r"(?=\p{Emoji})\p{Extended_Pictographic}")
    # Letters, signs and ideographs in emoji style, which no sequence of UTS #51 joins.
    never_joined = "©®‼⁉™ℹⓂ〰〽㊗㊙🅰🅱🅾🅿🆎🆑🆒🆓🆔🆕🆖🆗🆘🆙🆚🈁🈂🈚🈯🈲🈳🈴🈵🈶🈷🈸🈹🈺🉐🉑"
    assert {sign for sign in ALL if emoji.match(sign) and not ours.match(sign)} == set(never_joined)
    changed = [sign for sign in ALL if ours.match(sign) and unicodedata.normalize("NFKC", sign).casefold() != sign]
    assert changed == []
    assert not [sign for sign in ALL if ours.match(sign) and unicodedata.category(sign)[0] in "LMZ"]


def test_the_fold_of_each_code_point_is_final_and_hides_nothing() -> None:
    ignorable = re.compile(f"[{IGNORABLE}]")
    for sign in ALL:
        folded = fold_name(sign)
        assert fold_name(folded) == folded
        assert not ignorable.search(folded)
        assert bool(folded) == bool(not ignorable.match(sign) and sign.strip())


@given(st.text(st.one_of(st.sampled_from(HIDDEN + "👨👩❤🏴🏽ae\u0301\u0345Σß #＠"), st.characters()), max_size=12))
def test_a_folded_name_is_its_own_fold(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)
    assert fold_tag(fold_tag(name, "#"), "#") == fold_tag(name, "#")
    assert fold_name(f"\u200b {name.replace(chr(0x200D), '')}\u00ad\n") == fold_name(name.replace(chr(0x200D), ""))


@given(st.text(max_size=12), st.sampled_from(sorted(set(HIDDEN) - {"\u200d", "\U000e0041"})), st.integers(0, 12))
def test_a_sign_that_is_not_displayed_makes_no_other_name(name: str, sign: str, at: int) -> None:
    assert fold_name(name[:at] + sign + name[at:]) == fold_name(name)
