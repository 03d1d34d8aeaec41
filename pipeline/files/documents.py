"""Reads JSON documents, such as labels, parameters and bookmarks, and replaces small ones."""

import json
import os
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

MOST_BYTES: Final = 64 << 20


def read_json(path: Path) -> Any:
    """Reads a JSON document in UTF-8, UTF-16 or UTF-32, with or without a byte order mark. Blocks on reading.

    Raises OSError for a file that cannot be read, and ValueError, which tells the flaw, for content that is no JSON: no
    nesting is too deep and no number too long for an error. NaN and infinity pass, so that a reader names their field.
    """
    with path.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"above {MOST_BYTES:,} bytes")
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise ValueError(f"not {error.encoding} at byte {error.start:,}; save the file as UTF-8") from None
    return from_json(text)


def replace_json(path: Path, content: Any) -> None:
    """Writes a JSON document so that kill -9 leaves either the old or the new content. Makes the folder. Blocks until
    the content is on disk. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
