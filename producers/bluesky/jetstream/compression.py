"""Compression of a stream by zstd with a dictionary, which halves the traffic.

v2 hosts hand out their dictionary (getZstdDictionary). The dictionary of v1 is a file of Jetstream's own repository: a
user who has it names it by --dictionary, and else v1 streams come by permessage-deflate.
"""

import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Final

import zstandard

from pipeline.errors import SettingsError
from producers.bluesky.jetstream.endpoints import DICTIONARY_METHOD, MESSAGE_BYTES, JetstreamEndpoint
from producers.bluesky.jetstream.frames import FrameError

DECODED_BYTES: Final = 2 * MESSAGE_BYTES
"""The most bytes of a decoded frame: a small one may not swell to gigabytes."""

DICTIONARY_BYTES: Final = 16 * 1024 * 1024
DICTIONARY_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class Compression:
    """The dictionaries of all endpoints. `is_wanted`: False asks for plain frames."""

    def __init__(self, is_wanted: bool = True, v1_dictionary: Path | None = None) -> None:
        """Reads the dictionary of v1. Raises SettingsError for a file that is none."""
        self._is_wanted = is_wanted
        self._v1 = None if v1_dictionary is None else _read_dictionary(v1_dictionary)
        self._v2: dict[str, zstandard.ZstdCompressionDict | None] = {}
        self._plain = zstandard.ZstdDecompressor()
        self._decompressor = self._plain

    def ask(self, endpoint: JetstreamEndpoint) -> Mapping[str, str]:
        """Returns the parameters for compressed frames of an endpoint, and gets the endpoint's dictionary first.

        Without a dictionary there are none: frames come plain.
        """
        dictionary = self._dictionary(endpoint) if self._is_wanted else None
        if dictionary is None:
            self._decompressor = self._plain
            return {}
        self._decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)
        return {"compress": "true"} if endpoint.version == "v1" else {"zstdDictionary": str(dictionary.dict_id())}

    def give_up(self, endpoint: JetstreamEndpoint) -> None:
        """Asks this v2 endpoint for plain frames from now on."""
        self._v2[endpoint.url] = None

    def forget(self, endpoint: JetstreamEndpoint) -> None:
        """Forgets the retired dictionary of a v2 endpoint."""
        self._v2.pop(endpoint.url, None)

    def decode(self, value: bytes) -> bytes:
        """Returns the JSON of a frame, compressed or not. Raises FrameError."""
        if not value.startswith(zstandard.FRAME_HEADER):
            return value
        try:
            size = zstandard.frame_content_size(value)  # -1 where the frame does not say
            if size > DECODED_BYTES:
                raise FrameError("", f"zstd: {size} bytes, more than the {DECODED_BYTES} that a frame may have")
            return self._decompressor.decompress(value, max_output_size=DECODED_BYTES)
        except zstandard.ZstdError as error:
            raise FrameError("", f"zstd: {error}") from None

    def _dictionary(self, endpoint: JetstreamEndpoint) -> zstandard.ZstdCompressionDict | None:
        if endpoint.version == "v1":
            return self._v1
        if endpoint.url not in self._v2:
            self._v2[endpoint.url] = _fetch_dictionary(endpoint)
        return self._v2[endpoint.url]


def _read_dictionary(path: Path) -> zstandard.ZstdCompressionDict:
    try:
        return _dictionary_of(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"--dictionary {path}: cannot be read ({error.strerror}); give a file") from None
    except ValueError as error:
        raise SettingsError(
            f"--dictionary {path}: {error}; give Jetstream's own zstd dictionary, or leave the option out"
        ) from None


def _fetch_dictionary(endpoint: JetstreamEndpoint) -> zstandard.ZstdCompressionDict | None:
    """Gets the current dictionary of a v2 host; None where it has none."""
    url = endpoint.http_root + DICTIONARY_METHOD
    try:
        with urllib.request.urlopen(url, timeout=DICTIONARY_SECONDS) as answer:
            return _dictionary_of(answer.read(DICTIONARY_BYTES))
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        log.warning("%s: no zstd dictionary (%s); frames come plain", url, error)
        return None


def _dictionary_of(value: bytes) -> zstandard.ZstdCompressionDict:
    """Parses a dictionary. Raises ValueError for bytes that are none with an id."""
    try:
        dictionary = zstandard.ZstdCompressionDict(value, dict_type=zstandard.DICT_TYPE_FULLDICT)
    except zstandard.ZstdError as error:
        raise ValueError(f"not a zstd dictionary ({error})") from None
    if not dictionary.dict_id():
        raise ValueError("not a zstd dictionary with an id")
    return dictionary
