"""The keys file: who may send, each with the hash of a key, never the key itself.

keys:
- id: k7f3a91c2
  source: shop
  sha256: 9f86d081884c7d65...      # of the key, 256 random bits: nothing slower than a hash is needed
  channels: [shop]                 # events of other channels are refused; without: all channels
  secret: {env: SHOP_SECRET}       # for signatures, which need the secret itself; {file: PATH}, {clear: TEXT}
  rate: 100                        # requests a second
  concurrency: 16                  # requests at a time
  body_limit: 1048576              # bytes, after decompression
"""

import os
import secrets
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_serializer,
    model_validator,
)

from pipeline.errors import Refused, SettingsError
from pipeline.files.field_flaws import flaw_reason
from pipeline.files.yaml_documents import read_yaml

TOKEN_PREFIX: Final = "ek_"
"""Begins every key, so that scanners find keys that were published by mistake."""

KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
ChannelName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class SecretPlace(BaseModel):
    """The place of a secret: an environment variable, a file, or the text itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    env: str | None = None
    file: Path | None = None
    clear: SecretStr | None = None

    @field_serializer("clear", when_used="json")
    def _clear_in_the_file(self, clear: SecretStr | None) -> str | None:
        """Writes the secret, which stands in clear in the file itself, and is shown nowhere else."""
        return None if clear is None else clear.get_secret_value()

    @model_validator(mode="after")
    def _one_place(self) -> "SecretPlace":
        if sum(each is not None for each in (self.env, self.file, self.clear)) != 1:
            raise ValueError("give one of {env: NAME}, {file: PATH} and {clear: TEXT}")
        return self

    def read(self) -> str:
        """Returns the secret. Raises SettingsError for one that is not there."""
        try:
            found = self.clear.get_secret_value() if self.clear else (os.environ.get(self.env) if self.env else None)
            found = self.file.read_text(encoding="utf-8").strip() if self.file else found
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the secret in {self.file} cannot be read ({error}); name a readable file") from None
        if not found:
            raise SettingsError(f"the secret {self.env or self.file or ''} is empty; set it")
        return found


class KeyEntry(BaseModel):
    """A key of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: KeyName
    source: KeyName
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    channels: Annotated[list[ChannelName], Field(min_length=1)] | None = None
    secret: SecretPlace | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    body_limit: Annotated[int, Field(ge=1)] | None = None
    made: datetime | None = None
    revoked: datetime | None = None


class KeysDocument(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    keys: list[KeyEntry] = []

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "KeysDocument":
        ids = [entry.id for entry in self.keys]
        for each in ids:
            if ids.count(each) > 1:
                raise ValueError(f"id {each} is there twice; give each key its own")
        return self


def read_keys(path: Path) -> KeysDocument:
    """Reads and checks a keys file. Raises SettingsError that names the field, never a value."""
    found = read_yaml(path)
    try:
        return KeysDocument.model_validate({} if found.content is None else found.content)
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False)[0]
        raise found.error(flaw["loc"], flaw_reason(flaw, "docs/collector.md")) from None


def write_keys(path: Path, document: KeysDocument) -> None:
    """Replaces a keys file at once, readable by its owner alone. Raises Refused."""
    text = yaml.safe_dump(document.model_dump(mode="json", exclude_none=True), sort_keys=False)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        raise Refused(f"{path}: cannot be written ({error.strerror}); name another file by --file") from None


def new_key(document: KeysDocument, **fields: Any) -> tuple[KeysDocument, KeyEntry, str]:
    """Adds a key: returns the document, the entry, and the key itself, which is kept nowhere.

    Raises SettingsError for fields that make no sense.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    taken = {entry.id for entry in document.keys}
    key_id = next(each for each in iter(lambda: "k" + secrets.token_hex(4), "") if each not in taken)
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        entry = KeyEntry(id=key_id, sha256=hash_of(token), made=datetime.now(UTC).replace(microsecond=0), **given)
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise SettingsError(f"--{flaw['loc'][0]}: {flaw['msg']}") from None
    return KeysDocument(keys=[*document.keys, entry]), entry, token


def new_secret() -> str:
    """Returns a secret for signatures, in the form of Standard Webhooks."""
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode()


def hash_of(token: str) -> str:
    """Returns the hash by which a key is kept."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
