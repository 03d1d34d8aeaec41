"""Canonical URLs: one spelling for the addresses of one page, so that posts with the same link can be tied.

Differences that do not name another page are removed: scheme, default port, case and spelling of the host, hosts for
phones, user info, fragment, trackers, order of parameters, trailing slash, spelling of percent-encodings (RFC 3986,
6.2.2), ampersands escaped for HTML. Differences that may name another page stay: case of the path, every other
parameter. No address is fetched, so a shortened address is not resolved to its target.

Hosts are read as browsers read them (WHATWG URL, UTS #46 without transitional processing) by `ada-url`, the parser of
Node.js. `www` and hosts for phones are removed in front of the registered domain, which the public suffix list tells:
`m.github.io` belongs to somebody else than `github.io`. The list is that inside the pinned version of
`publicsuffixlist`, and the version is one of the constants that rows follow from (`processors/row_settings.py`).

    >>> canonical_url("http://WWW.Example.com:80/a/../News/?utm_source=x&b=2&a=%7e1#top")
    'https://example.com/News?a=~1&b=2'
"""

import re
from functools import cache, lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

import publicsuffixlist
from ada_url import URL

LONGEST_URL: Final = 4096
"""Most characters of an address, before and after canonicalization."""

LONGEST_HOST: Final = 253
"""Most characters of a host (RFC 1035)."""

DEFAULT_PORTS: Final = (None, 80, 443)
"""Ports that are removed with either scheme, because the scheme is removed too."""

SAME_SITE: Final = frozenset({"www", "m", "mobile", "amp"})
"""Host labels that name the same site: its main host, or its pages for phones."""

SUFFIXES_VERSION: Final = publicsuffixlist.__version__
"""The version of the public suffix list: another one can give another canonical address."""

TRACKERS: Final = frozenset(
    {
        *("fbclid", "fb_action_ids", "fb_action_types", "fb_ref", "fb_source", "mibextid"),
        *("gclid", "gclsrc", "gbraid", "wbraid", "dclid", "srsltid", "_ga", "_gl", "gad_source", "gad_campaignid"),
        *("igsh", "igshid", "twclid", "ttclid", "msclkid", "yclid", "ysclid", "li_fat_id", "epik", "rdt_cid", "sccid"),
        *("ref_src", "ref_url", "cmpid", "ncid", "ocid", "s_cid", "icid", "vero_id", "vero_conv"),
        *("_hsenc", "_hsmi", "__hssc", "__hstc", "__hsfp", "hsctatracking", "mkt_tok", "oly_anon_id", "oly_enc_id"),
        *("wt_mc", "wt.mc_id", "xtor", "at_medium", "at_campaign", "guccounter", "guce_referrer", "guce_referrer_sig"),
        *("smid", "smtyp", "spm", "trk", "trkcampaign", "__twitter_impression"),
        *("pk_campaign", "pk_cid", "pk_content", "pk_keyword", "pk_kwd", "pk_medium", "pk_source"),
        *("amp", "_openstat", "action_object_map", "action_type_map", "action_ref_map"),
    }
)
"""Names of parameters, in lower case, that tell where a visitor came from, or that a page is for phones."""

TRACKER_PREFIXES: Final = ("utm_", "mc_", "mtm_", "piwik_", "matomo_", "hsa_")
"""Prefixes of such names."""

TRACKERS_OF_HOSTS: Final[dict[str, frozenset[str]]] = {
    "twitter.com": frozenset({"s", "t"}),
    "x.com": frozenset({"s", "t"}),
    "youtube.com": frozenset({"si", "feature", "pp", "ab_channel"}),
    "youtu.be": frozenset({"si", "feature"}),
    "open.spotify.com": frozenset({"si"}),
    "medium.com": frozenset({"source"}),
}
"""Names that are trackers on one host alone."""

UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""Characters that need no escape (RFC 3986, 2.3)."""

STANDS_IN_PATH: Final = "/:@!$&'()*+,;=%~"
STANDS_IN_QUERY: Final = "/?:@!$'()*+,;=%~"
"""Characters that need no escape in a path or query. The percent sign is one, because only escapes still have it."""

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_PLAIN: Final = re.compile(
    r"https?://(?![^/]*xn--)((?:[a-z0-9-]{1,63}\.)+[a-z-][a-z0-9-]{0,62})((?:/[A-Za-z0-9_~-]+)*)/?"
)
"""Matches most addresses, those without punycode, which need no parsing and then cost a tenth."""

_AMPERSAND: Final = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
"""Matches an ampersand that was escaped for HTML, once or several times."""

_REST_OF_AMPERSAND: Final = re.compile(r"(?:amp;)+", re.IGNORECASE)
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_AROUND: Final = "".join(map(chr, range(33)))
"""Control characters and space, which browsers strip."""


def canonical_url(url: str) -> str | None:
    """Returns the canonical spelling of an address, with `https://`.

    Returns None for text that is no http(s) address, or is longer than LONGEST_URL. Never raises; takes time in
    proportion to the length; canonical addresses are their own canonical spelling.
    """
    if len(url) > LONGEST_URL:
        return None
    if (plain := _PLAIN.fullmatch(url)) and len(plain[1]) <= LONGEST_HOST:
        found = f"https://{_site(plain[1])}{plain[2]}"
        return found if len(found) <= LONGEST_URL else None
    try:
        text = _AMPERSAND.sub("&", url.strip(_AROUND).strip())
        # Browsers take a backslash for a slash.
        before, mark, query = text.partition("#")[0].partition("?")
        parts = urlsplit(before.replace("\\", "/") + mark + query)
        if parts.scheme not in ("http", "https"):
            return None
        host = _site(_host(parts.netloc))
        port = "" if parts.port in DEFAULT_PORTS else f":{parts.port}"
        found = f"https://{host}{port}{_path(parts.path)}{_query(parts.query, host)}"
    except ValueError:
        # Also UnicodeError: half a surrogate pair.
        return None
    return found if len(found) <= LONGEST_URL else None


def canonical_site(domain: str) -> str:
    """Returns the site of a domain: its canonical host without `www` or a host for phones. Empty for no domain."""
    return _site(canonical_host(domain.strip(".")))


def canonical_host(url: str) -> str:
    """Returns the host of an address, with or without scheme, as DNS has it; empty without a host. Never raises."""
    try:
        return _host(urlsplit(url if "://" in url else f"//{url}").netloc)
    except ValueError:
        return ""


def _host(netloc: str) -> str:
    """Returns the canonical host of the part of an address between slashes. Raises ValueError where there is none."""
    after = netloc.rpartition("@")[2]
    _, is_ip_v6, inside = after.partition("[")
    host = f"[{inside.partition(']')[0]}]" if is_ip_v6 else after.partition(":")[0]
    if not host:
        raise ValueError("no host")
    host = URL(f"https://{host}/").hostname.removesuffix(".")
    if not is_ip_v6 and (len(host) > LONGEST_HOST or not _HOST.fullmatch(host)):
        raise ValueError("no host")
    return host


def _site(host: str) -> str:
    """Removes the labels `www`, `m`, `mobile` and `amp` in front of the registered domain."""
    return host if SAME_SITE.isdisjoint(host.split(".")) else _registered_site(host)


@lru_cache(maxsize=4096)
def _registered_site(host: str) -> str:
    registered = _suffixes().privatesuffix(host)
    if registered is None:
        # A public suffix is nobody's site.
        return host
    above = host[: -len(registered)].split(".")
    return ".".join([label for label in above[:-1] if label not in SAME_SITE] + [registered])


@cache
def _suffixes() -> publicsuffixlist.PublicSuffixList:
    """Reads the public suffix list. Takes 50 ms, once."""
    return publicsuffixlist.PublicSuffixList()


def _path(path: str) -> str:
    unescaped = _AMPERSAND.sub("&", _ESCAPE.sub(_unescaped, path))
    return _without_dots(quote(unescaped, safe=STANDS_IN_PATH)).rstrip("/")


def _without_dots(path: str) -> str:
    """Removes dot segments (RFC 3986, 5.2.4) from a path that is empty or begins with a slash."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def _query(query: str, host: str) -> str:
    """Returns the query with the question mark: without trackers, sorted by name.

    Parameters of one name keep their order, which may have a meaning.
    """
    trackers = TRACKERS | TRACKERS_OF_HOSTS.get(host, frozenset())
    kept = []
    for part in query.split("&"):
        # Forms write a space as a plus sign.
        escaped = quote(_ESCAPE.sub(_unescaped, part.replace(" ", "+")), safe=STANDS_IN_QUERY).replace("%20", "+")
        if rest := _REST_OF_AMPERSAND.match(escaped):
            escaped = escaped[rest.end() :]
        name, _, value = escaped.partition("=")
        if (name or value) and name.lower() not in trackers and not name.lower().startswith(TRACKER_PREFIXES):
            kept.append((name, f"{name}={value}" if value else name))
    kept.sort(key=lambda pair: pair[0])
    return "?" + "&".join(part for _, part in kept) if kept else ""


def _unescaped(escape: re.Match[str]) -> str:
    """Returns an escape in capitals, or the character if no escape is needed; escapes a lone percent sign."""
    if escape[1] is None:
        return "%25"
    character = chr(int(escape[1], 16))
    return character if character in UNRESERVED else escape[0].upper()
