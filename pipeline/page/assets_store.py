"""The files of the page, read once from the package and sent compressed, with an ETag."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

ASSETS_FOLDER: Final = Path(__file__).parent / "assets"
MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class Asset:
    """A file: as it is and compressed."""

    media_type: str
    plain: bytes
    packed: bytes
    tag: str

    def answer(self, request: Request) -> Response:
        """Returns the file, or 304 where the browser has this version."""
        # The browser asks each time, so a new version of the package is seen at once; 304 costs a millisecond.
        headers = {"etag": self.tag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        takes_gzip = re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", request.headers.get("accept-encoding", ""))
        if takes_gzip:
            headers["content-encoding"] = "gzip"
        return Response(self.packed if takes_gzip else self.plain, media_type=self.media_type, headers=headers)


def read_assets(folder: Path = ASSETS_FOLDER) -> dict[str, Asset]:
    """Reads all files of a folder, by their path below the folder."""
    return {
        file.relative_to(folder).as_posix(): _asset(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix in MEDIA_TYPES
    }


def _asset(file: Path) -> Asset:
    plain = file.read_bytes()
    tag = f'"{hashlib.sha256(plain).hexdigest()[:20]}"'
    return Asset(MEDIA_TYPES[file.suffix], plain, gzip.compress(plain, 9, mtime=0), tag)
