"""Decodes the values of a foreign topic's records into rows: JSON, Avro with a Schema Registry, Protobuf with a file
of descriptors.

The last two need the client of Confluent, an extra (`engagement-pipeline[registry]`).
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pipeline.errors import Refused, SettingsError, Unavailable

JSON: Final = "json"
AVRO: Final = "avro"
PROTOBUF: Final = "protobuf"
DECODINGS: Final = (JSON, AVRO, PROTOBUF)

FRAME: Final = 5
"""Bytes before the content of a record with a registered schema: a zero and the schema's number."""

DecodeRow = Callable[[bytes], Any]


@dataclass(frozen=True)
class DecodingRule:
    """How values are decoded. `registry`: the URL of a Schema Registry. `descriptors`: a file that
    `protoc --include_imports --descriptor_set_out` wrote, and `message` the full name of the message in it."""

    form: str = JSON
    registry: str | None = None
    descriptors: Path | None = None
    message: str | None = None


def open_decoder(rule: DecodingRule, topic: str) -> DecodeRow:
    """Returns the decoder of a topic's values. Raises SettingsError for a rule that cannot work.

    The decoder raises ValueError for a value that is no row, and Unavailable or Refused where the registry does not
    know the schema. Blocks on the registry for each schema that is new.
    """
    if rule.form == JSON:
        return decode_json
    if rule.form == AVRO and rule.registry is None:
        raise SettingsError("--decode avro needs --registry URL of the Schema Registry")
    if rule.registry is not None and urlsplit(rule.registry).scheme not in ("http", "https"):
        raise SettingsError(f"--registry: {_shown(rule.registry)} is no http:// or https:// address")
    try:
        return _schema_decoder(rule, topic)
    except ImportError as error:
        raise SettingsError(
            f"--decode {rule.form} needs the package {error.name}: pip install 'engagement-pipeline[registry]'"
        ) from None


def decode_json(value: bytes) -> Any:
    """Decodes JSON, also behind the five bytes by which a record names its registered schema. Raises ValueError."""
    if value[:1] == b"\0":
        value = value[FRAME:]
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}; name the format by --decode") from None


def _schema_decoder(rule: DecodingRule, topic: str) -> DecodeRow:
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.schema_registry.error import SchemaRegistryError
    from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from httpx2 import TransportError

    context = SerializationContext(topic, MessageField.VALUE)
    deserialize: Callable[[bytes, Any], Any]
    if rule.form == AVRO:
        deserialize = AvroDeserializer(SchemaRegistryClient({"url": rule.registry, "max.retries": 2, "timeout": 10}))
    else:
        deserialize = ProtobufDeserializer(_message_type(rule), {"use.deprecated.format": False})

    def decode(value: bytes) -> Any:
        try:
            content = deserialize(value, context)
            return _plain(content) if rule.form == AVRO else MessageToDict(content, preserving_proto_field_name=True)
        except SchemaRegistryError as error:
            if error.http_status_code == HTTPStatus.NOT_FOUND:
                raise ValueError(f"its schema is not in the registry: {error}") from None
            raise Refused(f"{_shown(rule.registry)}: {error}; is --registry the one of this topic?") from None
        except (OSError, TransportError) as error:
            raise Unavailable(f"{_shown(rule.registry)} does not answer ({error}); is --registry right?") from None
        except (SerializationError, ValueError, TypeError, LookupError, EOFError, struct.error, DecodeError) as error:
            raise ValueError(f"not {rule.form} of a registered schema: {error}") from None

    return decode


def _message_type(rule: DecodingRule) -> Any:
    """Returns the class of the message that the rule names. Raises SettingsError."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError

    if rule.descriptors is None or rule.message is None:
        raise SettingsError("--decode protobuf needs --descriptors FILE and --message NAME")
    files = descriptor_pb2.FileDescriptorSet()
    pool = descriptor_pool.DescriptorPool()
    try:
        files.ParseFromString(rule.descriptors.read_bytes())
        for file in files.file:
            pool.Add(file)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(rule.message))
    except OSError as error:
        raise SettingsError(f"--descriptors: {rule.descriptors}: {error.strerror}; name a file of protoc") from None
    except (DecodeError, TypeError) as error:
        raise SettingsError(
            f"--descriptors: {rule.descriptors}: {error}; write it by protoc --include_imports --descriptor_set_out"
        ) from None
    except KeyError:
        raise SettingsError(f"--message: {rule.message} is not in {rule.descriptors}; give package.Name") from None


def _plain(value: Any) -> Any:
    """Returns an Avro value with bytes as text, as JSON would have it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _shown(url: str | None) -> str:
    """Returns an address without user and password."""
    parts = urlsplit(url or "")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
