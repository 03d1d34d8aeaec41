"""One spelling for the addresses of one page, others for others, and none for what is no address, whatever comes."""

import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.canonical_url import LONGEST_URL, TRACKER_PREFIXES, TRACKERS, TRACKERS_OF_HOSTS, canonical_url

PAGE = "https://example.com/News/1"

PIECES = st.sampled_from(
    [
        *("&amp;", "&#38;", "&amp", "%61mp;", "σς", "\u200d", "0x1", "github.io"),
        *("http://", "https://", "//", "www.", "m.", "amp.", "example.com", "bücher.de", "xn--", "co.uk", "[::1]", "["),
        *("]", ":80", ":443", ":8080", ":-1", ":٣", "@", "/", "\\", "..", ".", "%2e", "%2F", "%", "%zz", "%C3", "ß"),
        *("。", "…", "?", "&", "=", "utm_x=1", "amp;a=1", "a=1", "b", "+", " ", "%20", "%26", "#", "\t", "\n", "\0"),
        *("\ud800", "😀"),
    ]
)


@pytest.mark.parametrize(
    "same",
    [
        "http://example.com/News/1",
        "HTTPS://EXAMPLE.com./News/1/",
        "http://example.com:80/News/1",
        "https://example.com:443/News/1",
        "http://www.example.com/News/1",
        "http://m.example.com/News/1",
        "http://mobile.example.com/News/1?amp=1",
        "https://amp.example.com/News/1",
        "https://www.m.example.com/News/1",
        "https://user:secret@example.com/News/1",
        "https://example.com/News/1#comments",
        "https://example.com/News/1?",
        "https://example.com/News/1?&",
        "https://example.com/News/1?utm_source=a&utm%5Fmedium=b&UTM_x=c&fbclid=d&mc_eid=e&igshid=f&ref_src=g",
        "https://example.com/%4Eews/%31",
        "https://example.com/./a/../News/x/%2e%2E/1",
        "  https://example.com\\News/1\n",
        "https://exam\tple.com/News/1",
        "https://exam\u00adple。com/News/1",
        "https://ｅxample.com/News/1?&amp;utm_source=x&AMP;fbclid=1",
        "https://example.com/News/1?utm_source=a&amp;amp;utm_medium=b&#38;utm_x=1&#x26;utm_y=1#c",
    ],
)
def test_the_same_page(same: str) -> None:
    assert canonical_url(same) == PAGE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://example.com/a", "https://example.com/A"),
        ("https://example.com/?id=1", "https://example.com/?id=2"),
        ("https://example.com/?id=a", "https://example.com/?id=A"),
        ("https://example.com/?a=1&a=2", "https://example.com/?a=2&a=1"),
        ("https://example.com/?ref=1", "https://example.com/"),
        ("https://example.com/a%2Fb", "https://example.com/a/b"),
        ("https://example.com/?a=1%26b", "https://example.com/?a=1&b"),
        ("https://example.com/?s=1", "https://example.com/"),
        ("https://example.com:8080/", "https://example.com/"),
        ("https://news.example.com/", "https://example.com/"),
        ("https://amp.co.uk/", "https://m.co.uk/"),
        ("https://m.com/", "https://www.com/"),
        # Owners that IDNA 2003 made one.
        ("https://straße.de/", "https://strasse.de/"),
        ("https://faß.de/", "https://fass.de/"),
        ("https://σίσυφος.gr/", "https://σίσυφοσ.gr/"),
        ("https://نامه\u200cای.com/", "https://نامهای.com/"),
        # Owners below a public suffix.
        ("https://m.github.io/", "https://github.io/"),
        ("https://www.blogspot.com/", "https://amp.blogspot.com/"),
        ("https://amp.gov.uk/", "https://gov.uk/"),
        ("https://m.kawasaki.jp/", "https://www.kawasaki.jp/"),
        ("https://mobile.edu.au/", "https://edu.au/"),
        ("https://www.个人.hk/", "https://个人.hk/"),
    ],
)
def test_other_pages(one: str, other: str) -> None:
    assert canonical_url(one) is not None
    assert canonical_url(other) is not None
    assert canonical_url(one) != canonical_url(other)


@pytest.mark.parametrize(
    ("url", "spelled"),
    [
        ("http://BÜCHER.de/straße?q=ä", "https://xn--bcher-kva.de/stra%C3%9Fe?q=%C3%A4"),
        ("http://xn--bcher-kva.de/stra%c3%9fe?q=%c3%a4", "https://xn--bcher-kva.de/stra%C3%9Fe?q=%C3%A4"),
        ("http://STRAßE.de", "https://xn--strae-oqa.de"),
        ("http://ΣΊΣΥΦΟΣ.gr", "https://xn--kxa6akbbkh.gr"),
        ("http://İstanbul.com", "https://xn--istanbul-o0e.com"),
        ("http://I❤\ufe0f.ws", "https://xn--i-7iq.ws"),
        ("http://a_b.bücher.de", "https://a_b.xn--bcher-kva.de"),
        ("http://r3---sn.googlevideo.com/?a", "https://r3---sn.googlevideo.com?a"),
        ("http://%62%C3%BCcher.de", "https://xn--bcher-kva.de"),
        ("http://0x7f.1/a", "https://127.0.0.1/a"),
        ("http://www.bbc.co.uk/a", "https://bbc.co.uk/a"),
        ("http://www.m.github.io/a", "https://m.github.io/a"),
        ("http://www.city.kawasaki.jp/a", "https://city.kawasaki.jp/a"),
        ("http://www.ck/a", "https://www.ck/a"),
        ("http://m.a.个人.hk/", "https://a.xn--ciqpn.hk"),
        ("https://example.com/a?a=1&amp;b=2&amp;amp;c=3&#38;d=4", "https://example.com/a?a=1&b=2&c=3&d=4"),
        ("https://example.com/a&amp;b?amp;c=1&amp", "https://example.com/a&b?c=1"),
        ("https://en.m.wikipedia.org/wiki/A", "https://en.wikipedia.org/wiki/A"),
        ("https://[2001:DB8:0:0::1]:8080/", "https://[2001:db8::1]:8080"),
        ("http://127.0.0.1/", "https://127.0.0.1"),
        ("https://example.com/?b=2&a=1&c", "https://example.com?a=1&b=2&c"),
        ("https://example.com/?q=a+b", "https://example.com?q=a+b"),
        ("https://example.com/?q=a%20b", "https://example.com?q=a+b"),
        ("https://example.com/100%", "https://example.com/100%25"),
        ("https://twitter.com/a/status/1?s=20&t=x", "https://twitter.com/a/status/1"),
        ("https://www.youtube.com/watch?v=Ab&feature=share", "https://youtube.com/watch?v=Ab"),
    ],
)
def test_how_it_is_spelled(url: str, spelled: str) -> None:
    assert canonical_url(url) == spelled


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com/a", "//example.com", "ftp://example.com", "javascript:alert(1)", "mailto:a@b.c", "http:"),
        *("http://", "http:///a", "http://?", "http://a..b/", "http://a b/", "http://a.com:99999/", "http://a.com:x/"),
        *(
            "http://[::1",
            "http://[::g]/",
            "http://[fe80::1%25eth0]/",
            "http://%00/",
            "http://%ff/",
            "http://a／b.com/",
            "http://a\u200db.com/",
        ),
        *("http://\ud800.com/", "http://a.com/\udfff", f"http://{'a' * 64}.com/", f"http://{'a.' * 130}com/"),
        *("http://a.com/" + "a" * LONGEST_URL, "http://a.com/" + "ü" * 1000),
    ],
)
def test_no_address(url: str) -> None:
    assert canonical_url(url) is None


@given(st.one_of(st.text(), st.lists(PIECES, max_size=14).map("".join)))
@example("http://[::1%25]/")
@example("https://a//..//../b//")
@example("http://a/?%20=%20")
def test_its_answers_stay_as_they_are(url: str) -> None:
    found = canonical_url(url)
    if found is not None:
        assert canonical_url(found) == found
        assert found.startswith("https://")
        assert found.isascii()
        assert "#" not in found


LABELS = st.sampled_from(["www", "m", "example", "co", "com", "uk", "1", "a-b", "xn--bcher-kva", "-", "_"])


@given(st.lists(LABELS, min_size=1), st.lists(st.text("aZ0_~-.%", max_size=3)), st.sampled_from(["http", "https"]))
def test_plain_addresses_are_spelled_as_if_they_were_taken_apart(host: list[str], path: list[str], scheme: str) -> None:
    url = f"{scheme}://{'/'.join(['.'.join(host), *path])}"
    assert canonical_url(url) == canonical_url(url + "#")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.text("xy%&=+ü", max_size=4)), unique_by=lambda pair: pair[0]))
def test_the_order_of_parameters_says_nothing(pairs: list[tuple[str, str]]) -> None:
    parts = [f"{name}={value.replace('&', '%26')}" for name, value in pairs]
    found = {canonical_url("http://example.com/?" + "&".join(each)) for each in (parts, parts[::-1], sorted(parts))}
    assert len(found) == 1
    assert None not in found


def test_tables_are_in_the_case_that_is_looked_up() -> None:
    names = [*TRACKERS, *TRACKER_PREFIXES, *(name for names in TRACKERS_OF_HOSTS.values() for name in names)]
    assert all(name == name.lower() for name in names)
    assert all(canonical_url(f"http://{host}/") == f"https://{host}" for host in TRACKERS_OF_HOSTS)


@pytest.mark.parametrize(
    "piece", ["%", "/..", "&", "=", "@", ":", "[", "a.", "ü.", "。", "%2e", "\\", "?a", "\0", "\u0300"]
)
def test_garbage_takes_no_time(piece: str) -> None:
    text = (piece * LONGEST_URL)[: LONGEST_URL - 16]
    shuffled = "".join(random.Random(1).sample(text, len(text)))
    start = time.process_time()
    for rest in (text, shuffled):
        for url in (rest, f"http://{rest}", f"http://a/{rest}", f"http://a/?{rest}", f"http://a@{rest}"):
            canonical_url(url)
    assert time.process_time() - start < 0.25, "10 addresses"
