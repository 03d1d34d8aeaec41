"""One spelling for the addresses of one page, so that posts that carry the same message are found to do so.

What differs without naming another page goes: scheme, default port, case and spelling of the host, hosts for phones,
user info, fragment, trackers, order of parameters, trailing slash, spelling of percent-encodings (RFC 3986, 6.2.2).
What may name another page stays: case of the path, every other parameter. Nothing is fetched, so a shortened address
is not that of its target.

    >>> canonical_url("http://WWW.Example.com:80/a/../News/?utm_source=x&b=2&a=%7e1#top")
    'https://example.com/News?a=~1&b=2'
"""

import ipaddress
import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

LONGEST_URL: Final = 4096
"""Characters of an address, as it comes and as it is spelled here."""

LONGEST_HOST: Final = 253
"""Characters of a host (RFC 1035); beyond it some versions of the standard library's IDNA take quadratic time."""

DEFAULT_PORTS: Final = (None, 80, 443)
"""Either goes with either scheme, because the scheme goes too."""

SAME_SITE: Final = frozenset({"www", "m", "mobile", "amp"})
"""Labels of hosts that show a site's pages for phones, or its own."""

SECOND_LEVELS: Final = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})
"""Below a country's domain these stand for the country: what is registered is the label before (amp.co.uk)."""

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
"""Names of parameters that say from where somebody came, or that the page is one for phones; lower case."""

TRACKER_PREFIXES: Final = ("utm_", "mc_", "mtm_", "piwik_", "matomo_", "hsa_")

TRACKERS_OF_HOSTS: Final[dict[str, frozenset[str]]] = {
    "twitter.com": frozenset({"s", "t"}),
    "x.com": frozenset({"s", "t"}),
    "youtube.com": frozenset({"si", "feature", "pp", "ab_channel"}),
    "youtu.be": frozenset({"si", "feature"}),
    "open.spotify.com": frozenset({"si"}),
    "medium.com": frozenset({"source"}),
}
"""What is a tracker on this host alone."""

UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""Needs no escape (RFC 3986, 2.3)."""

STANDS_IN_PATH: Final = "/:@!$&'()*+,;=%~"
STANDS_IN_QUERY: Final = "/?:@!$'()*+,;=%~"
"""Need no escape there; the percent sign because by then only those of escapes are left."""

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_PLAIN: Final = re.compile(r"https?://((?:[a-z0-9-]{1,63}\.)+[a-z-][a-z0-9-]{0,62})((?:/[A-Za-z0-9_~-]+)*)/?")
"""Most addresses: nothing in them has to be taken apart, at a tenth of the price."""

_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_AROUND: Final = "".join(map(chr, range(33)))
"""Control characters and space, which browsers cut off."""


def canonical_url(url: str) -> str | None:
    """The one spelling of an address, with `https://`; None for what is no http(s) address or is longer than 4,096.

    Never raises, takes time in proportion to the length, and leaves its own answers as they are.
    """
    if len(url) > LONGEST_URL:
        return None
    if (plain := _PLAIN.fullmatch(url)) and len(plain[1]) <= LONGEST_HOST:
        found = f"https://{_site(plain[1])}{plain[2]}"
        return found if len(found) <= LONGEST_URL else None
    try:
        # As browsers do: a backslash separates like a slash.
        before, mark, query = url.strip(_AROUND).strip().partition("#")[0].partition("?")
        parts = urlsplit(before.replace("\\", "/") + mark + query)
        if parts.scheme not in ("http", "https"):
            return None
        host = _host(parts.hostname or "")
        port = "" if parts.port in DEFAULT_PORTS else f":{parts.port}"
        found = f"https://{host}{port}{_path(parts.path)}{_query(parts.query, host)}"
    except ValueError:
        # UnicodeError is one too: half a surrogate pair, a host that no IDNA spells.
        return None
    return found if len(found) <= LONGEST_URL else None


def _host(host: str) -> str:
    """Raises ValueError for what is none."""
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
    """Without the names of what shows the same to phones."""
    labels = host.split(".")
    registered = 3 if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in SECOND_LEVELS else 2
    return ".".join([label for label in labels[:-registered] if label not in SAME_SITE] + labels[-registered:])


def _ip_v6(host: str) -> str:
    if "%" in host:
        raise ValueError("an address with a zone is nobody else's")
    return ipaddress.IPv6Address(host).compressed


def _path(path: str) -> str:
    return _without_dots(quote(_ESCAPE.sub(_unescaped, path), safe=STANDS_IN_PATH)).rstrip("/")


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4, for a path that is empty or begins with a slash."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def _query(query: str, host: str) -> str:
    """With its question mark; by name, and those of one name in their order, which may mean something."""
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
    """An escape in capitals, or what it stands for where it needs none; a lone percent sign escaped."""
    if escape[1] is None:
        return "%25"
    character = chr(int(escape[1], 16))
    return character if character in UNRESERVED else escape[0].upper()
