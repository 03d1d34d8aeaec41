"""Canonical URLs: one spelling for the addresses of one page, so that posts with the same link can be tied.

Differences that do not name another page are removed: scheme, default port, case and spelling of the host, hosts for
phones, user info, fragment, trackers, order of parameters, trailing slash, spelling of percent-encodings (RFC 3986,
6.2.2). Differences that may name another page stay: case of the path, every other parameter. No address is fetched, so
a shortened address is not resolved to its target.

    >>> canonical_url("http://WWW.Example.com:80/a/../News/?utm_source=x&b=2&a=%7e1#top")
    'https://example.com/News?a=~1&b=2'
"""

import ipaddress
import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

LONGEST_URL: Final = 4096
"""Most characters of an address, before and after canonicalization."""

LONGEST_HOST: Final = 253
"""Most characters of a host (RFC 1035); some versions of the standard library's IDNA take quadratic time beyond."""

DEFAULT_PORTS: Final = (None, 80, 443)
"""Ports that are removed with either scheme, because the scheme is removed too."""

SAME_SITE: Final = frozenset({"www", "m", "mobile", "amp"})
"""Host labels that name the same site: its main host, or its pages for phones."""

SECOND_LEVELS: Final = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})
"""Labels that belong to a country's domain: the registered label stands before them (amp.co.uk)."""

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
_PLAIN: Final = re.compile(r"https?://((?:[a-z0-9-]{1,63}\.)+[a-z-][a-z0-9-]{0,62})((?:/[A-Za-z0-9_~-]+)*)/?")
"""Matches most addresses, which need no parsing and then cost a tenth."""

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
        # Browsers take a backslash for a slash.
        before, mark, query = url.strip(_AROUND).strip().partition("#")[0].partition("?")
        parts = urlsplit(before.replace("\\", "/") + mark + query)
        if parts.scheme not in ("http", "https"):
            return None
        host = _host(parts.hostname or "")
        port = "" if parts.port in DEFAULT_PORTS else f":{parts.port}"
        found = f"https://{host}{port}{_path(parts.path)}{_query(parts.query, host)}"
    except ValueError:
        # Also UnicodeError: half a surrogate pair, a host that IDNA cannot encode.
        return None
    return found if len(found) <= LONGEST_URL else None


def _host(host: str) -> str:
    """Returns the canonical host. Raises ValueError for text that is no host."""
    if ":" in host:
        return f"[{_ip_v6(host)}]"
    host = unquote(host, errors="strict").removesuffix(".")
    if len(host) > LONGEST_HOST:
        raise ValueError("the host is too long")
    host = (host if host.isascii() else host.encode("idna").decode()).lower()
    if len(host) > LONGEST_HOST or not _HOST.fullmatch(host):
        raise ValueError("no host")
    return host if re.fullmatch(r"[0-9.]+", host) else _site(host)


def _site(host: str) -> str:
    """Removes the labels `www`, `m`, `mobile` and `amp` from a host."""
    labels = host.split(".")
    registered = 3 if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in SECOND_LEVELS else 2
    return ".".join([label for label in labels[:-registered] if label not in SAME_SITE] + labels[-registered:])


def _ip_v6(host: str) -> str:
    if "%" in host:
        raise ValueError("an address with a zone holds on one machine only")
    return ipaddress.IPv6Address(host).compressed


def _path(path: str) -> str:
    return _without_dots(quote(_ESCAPE.sub(_unescaped, path), safe=STANDS_IN_PATH)).rstrip("/")


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
