"""The encoding of a file: by its byte order mark, as the caller names it, or detected.

A byte order mark wins over everything else, as browsers do it (WHATWG Encoding Standard). UTF-16 and UTF-32 without a
mark are told by their zero bytes. Events are UTF-8 otherwise, because JSON is (RFC 8259): a guess would turn a damaged
line into a wrong event. A table of which no text beyond ASCII is UTF-8 is guessed: Western text of any length by its
letters, other scripts by charset-normalizer once there is enough text.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Final

from charset_normalizer import from_bytes

from pipeline.files.flaws import FileChunk, Flaw

UTF_8: Final = "utf-8"
WESTERN: Final = "cp1252"
COUNTED_BYTES: Final = 256
"""Bytes in which zeros are counted; few, so that damage further on does not matter."""

_BEGINNING_BYTES: Final = 32
"""Bytes that are UTF-8 where all of them are ASCII without zeros: lines in UTF-16 were appended further on."""

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_NOT_TEXT: Final = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7")
"""Codecs that Python calls encodings of text, but in which no files are stored."""

_SCRIPTS: Final = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949"]
"""Encodings of other scripts, of which charset-normalizer names one: Cyrillic, Greek, Hebrew, Arabic, Japanese,
Chinese, Korean."""

_ENOUGH_BYTES: Final = 48
"""Bytes beyond ASCII from which charset-normalizer tells encodings apart. With 40 it took Hebrew for Cyrillic."""

_MOST_GUESSED_BYTES: Final = 1 << 16
_MOST_WORD_BYTES: Final = 256

_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]+")
_WORD: Final = re.compile(rb"[^\s,;\"]+")
_CHARACTER: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""A character beyond ASCII in UTF-8."""

_WESTERN_SIGNS: Final = frozenset("€‚„…‘’“”•–—™ŠŒŽšœžŸ\N{NO-BREAK SPACE}¡£§©«®°·»¿".encode(WESTERN))

_DAMAGE: Final = "\udcff"
"""A lone surrogate, which no text holds, in place of bytes that are no character."""


def canonical_encoding(name: str) -> str:
    """Returns Python's name of an encoding of text. Raises ValueError for an unknown one."""
    try:
        codec = codecs.lookup(name)
        "".encode(name)  # fails for codecs from bytes to bytes, such as base64
    except (LookupError, ValueError, TypeError):
        raise ValueError(f"{name!r} is no encoding; name one such as utf-8, utf-16, cp1252 or latin-1") from None
    if codec.name in _NOT_TEXT:
        raise ValueError(f"{name!r} is no encoding of files; name one such as utf-8, utf-16, cp1252 or latin-1")
    return UTF_8 if codec.name == "utf-8-sig" else codec.name


def marked_encoding(first: bytes) -> str | None:
    """Returns the encoding by the first bytes of a file: by a mark or by zero bytes; None where neither is there.

    A mark of UTF-16 or UTF-32 counts where text with signs of ASCII follows, as in every table and in JSON: damaged
    bytes may look like a mark.
    """
    if first.startswith(codecs.BOM_UTF8):
        return UTF_8
    first = first[:COUNTED_BYTES]
    for mark, encoding in _MARKS:
        if first.startswith(mark):
            text = first.decode(encoding, "ignore")
            if sum(map(str.isascii, text)) >= len(text) / 10:
                return encoding
    return _by_zeros(first)


def guess_encoding(sample: bytes) -> str:
    """Guesses the encoding of a table without a mark: UTF-8 wherever some text beyond ASCII is, and where the text is
    too short to tell."""
    if is_utf8(sample):
        return UTF_8
    foreign = _foreign_words(sample)
    if _is_mostly_utf8(foreign):
        return UTF_8
    if _is_western(foreign):
        return WESTERN
    if sum(map(len, _BEYOND_ASCII.findall(foreign))) < _ENOUGH_BYTES:
        return UTF_8
    best = from_bytes(foreign, cp_isolation=_SCRIPTS).best()
    return UTF_8 if best is None else codecs.lookup(best.encoding).name


def is_utf8(sample: bytes) -> bool:
    """Tells whether bytes are UTF-8; a character may be cut off at the end."""
    try:
        codecs.getincrementaldecoder(UTF_8)().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def to_utf8(chunks: Iterator[FileChunk], encoding: str) -> Iterator[FileChunk]:
    """Yields the content in UTF-8, without a byte order mark. Bytes that are no character become invalid UTF-8, so that
    their line is told from others."""
    codecs.register_error("mark-damage", _mark_damage)
    decoder = codecs.getincrementaldecoder(encoding)("mark-damage")
    is_first = True
    for chunk in chunks:
        if isinstance(chunk, Flaw):
            yield chunk
            return
        text = decoder.decode(chunk)
        if text and is_first:
            text, is_first = text.removeprefix("\N{BYTE ORDER MARK}"), False
        if text:
            yield text.encode(UTF_8, "surrogatepass")
    if text := decoder.decode(b"", final=True):
        yield text.encode(UTF_8, "surrogatepass")


def _mark_damage(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _DAMAGE, error.end


def _by_zeros(first: bytes) -> str | None:
    """Tells UTF-16 and UTF-32 without a mark: JSON and the head of a table are ASCII, so most of their high bytes are
    zeros, and none of their low bytes."""
    count = len(first) // 4
    beginning = first[:_BEGINNING_BYTES]
    if not count or (beginning.isascii() and b"\0" not in beginning):
        return None
    zeros = [first[at::4][:count].count(0) / count for at in range(4)]
    if min(zeros[2:]) > 0.9 and zeros[0] < 0.1:
        return "utf-32-le"
    if min(zeros[:2]) > 0.9 and zeros[3] < 0.1:
        return "utf-32-be"
    if min(zeros[1], zeros[3]) > 0.2 and max(zeros[0], zeros[2]) < 0.1:
        return "utf-16-le"
    if min(zeros[0], zeros[2]) > 0.2 and max(zeros[1], zeros[3]) < 0.1:
        return "utf-16-be"
    return None


def _foreign_words(sample: bytes) -> bytes:
    """Returns the words with bytes beyond ASCII, a line each, up to a length."""
    words: list[bytes] = []
    size = 0
    for match in _WORD.finditer(sample):
        word = match[0]
        if word.isascii():
            continue
        if len(word) > _MOST_WORD_BYTES and (beyond := _BEYOND_ASCII.search(word)):
            word = word[max(beyond.start() - 16, 0) :][:_MOST_WORD_BYTES]
        words.append(word)
        size += len(word) + 1
        if size > _MOST_GUESSED_BYTES:
            break
    return b"\n".join(words)


def _is_western(foreign: bytes) -> bool:
    """Tells whether bytes beyond ASCII stand as in words of Western languages: alone or in pairs, as letters or as
    typographic signs."""
    runs = _BEYOND_ASCII.findall(foreign)
    count = sum(map(len, runs))
    alone = sum(len(run) for run in runs if len(run) <= 2)
    letters = sum(byte >= 0xC0 or byte in _WESTERN_SIGNS for run in runs for byte in run)
    return alone >= 0.6 * count and letters >= 0.9 * count


def _is_mostly_utf8(foreign: bytes) -> bool:
    """Tells whether at least half of the bytes beyond ASCII are characters in UTF-8: then the others are damage."""
    count = sum(map(len, _BEYOND_ASCII.findall(foreign)))
    return 2 * sum(map(len, _CHARACTER.findall(foreign))) >= count
