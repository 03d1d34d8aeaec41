"""The topics as an AsyncAPI 3.0 document, generated from the models and committed as docs/asyncapi.json.

    engagement schema --asyncapi > docs/asyncapi.json

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0 and its Kafka bindings 0.5.0.
"""

import json
from typing import Any, Final

from schemas.alerts import ALERTS_KEY, alert_json_schema
from schemas.conversations import conversation_json_schema
from schemas.events import event_json_schema
from schemas.topics import KIND_DESCRIPTIONS, KINDS, Kind, Topics

MESSAGES_VERSION: Final = "1.0.0"
"""The version of the messages; the major number rises when producers must change."""

DEAD_HEADERS: Final[dict[str, str]] = {
    "topic": "Where the record was",
    "partition": "... in which partition",
    "offset": "... at which offset",
    "received-at-ms": "When Kafka took it, milliseconds since 1970",
    "reason": "What is wrong and how to mend it",
    "field": "Where, dotted; empty: the whole record",
    "key": "The record's key, as it came; absent where it had none",
    "source": "Of what never was a record: who sent it, or which host; partition and perhaps offset are -1",
    "cut-from": "Of a value above the size limit, of which only the beginning is kept: its size in bytes",
}


def asyncapi_document(topics: Topics | None = None) -> dict[str, Any]:
    """Returns the document, in JSON values only; without `topics` for those under the default prefix."""
    schemas = {
        "Event": event_json_schema(),
        "ConversationRun": conversation_json_schema(),
        "SpikeAlert": alert_json_schema(),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Engagement pipeline",
            "version": MESSAGES_VERSION,
            "description": "Seen from the pipeline: it receives events, and sends what its agents tell one another, "
            "alerts and dead letters.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": _channels(topics or Topics()),
        "operations": _operations(),
        "components": {
            "messages": _messages(),
            "schemas": {name: _embedded(name, schema) for name, schema in schemas.items()},
        },
    }


def _channels(topics: Topics) -> dict[str, dict[str, Any]]:
    channels: dict[str, dict[str, Any]] = {kind: _source_channel(topics.of(kind), kind) for kind in KINDS}
    channels["conversations"] = {
        "address": topics.conversations,
        "description": "What passes between agents: cells of conversations, and how far event time has come. A cell "
        "lies on partition murmur2(conversation) mod n; a record holds many and has no key.",
        "messages": {"conversationRun": {"$ref": "#/components/messages/conversationRun"}},
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": ["delete"]}, "bindingVersion": "0.5.0"}},
    }
    channels["alerts"] = {
        "address": topics.alerts,
        "description": "Sudden spikes of conversations, one record per state of each.",
        "messages": {"spikeAlert": {"$ref": "#/components/messages/spikeAlert"}},
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": ["delete"]}, "bindingVersion": "0.5.0"}},
    }
    channels["deadLetters"] = {
        "address": topics.dead_letters,
        "description": "Records that could not be taken: the value as it came, the facts in headers.",
        "messages": {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
        "bindings": {"kafka": {"partitions": 1, "topicConfiguration": {"cleanup.policy": ["delete"]}}},
    }
    return channels


def _operations() -> dict[str, dict[str, Any]]:
    operations: dict[str, dict[str, Any]] = {
        f"receive{kind.capitalize()}s": {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{kind}"},
            "summary": f"Fold {kind}s into the state of their post.",
        }
        for kind in KINDS
    }
    for channel, summary in (
        ("conversations", "Say what posts add to conversations."),
        ("alerts", "Say that a conversation spikes."),
        ("deadLetters", "Keep what could not be taken."),
    ):
        operations[f"send{channel[0].upper()}{channel[1:]}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": summary,
        }
    return operations


def _messages() -> dict[str, dict[str, Any]]:
    return {
        **{kind: _event_message(kind) for kind in KINDS},
        "conversationRun": {
            "name": "conversationRun",
            "title": "Cells of many conversations, and watermarks",
            "contentType": "application/json",
            "payload": {"$ref": "#/components/schemas/ConversationRun"},
        },
        "spikeAlert": {
            "name": "spikeAlert",
            "title": "A spike has opened, grown or is over",
            "contentType": "application/json",
            "payload": {"$ref": "#/components/schemas/SpikeAlert"},
            "bindings": {
                "kafka": {
                    "key": {"const": ALERTS_KEY, "description": "The same for all: one worker reads all alerts"},
                    "bindingVersion": "0.5.0",
                }
            },
        },
        "deadLetter": _dead_letter_message(),
    }


def _embedded(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Makes a JSON Schema a component of the document: its references point into the document."""
    text = json.dumps({key: value for key, value in schema.items() if key != "$schema"})
    embedded: dict[str, Any] = json.loads(text.replace('"#/$defs/', f'"#/components/schemas/{name}/$defs/'))
    return embedded


def _source_channel(address: str, kind: Kind) -> dict[str, Any]:
    return {
        "address": address,
        "description": f"{KIND_DESCRIPTIONS[kind]} "
        "Keyed by post_id; the same number of partitions in all source topics.",
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"}},
        "bindings": {
            "kafka": {"topicConfiguration": {"cleanup.policy": ["delete"]}, "bindingVersion": "0.5.0"},
        },
    }


def _event_message(kind: str) -> dict[str, Any]:
    of_kind = {"properties": {"kind": {"const": kind}}}
    return {
        "name": kind,
        "title": f"A {kind}, or the taking back of one",
        "contentType": "application/json",
        "payload": {"allOf": [{"$ref": "#/components/schemas/Event"}, of_kind]},
        "bindings": {
            "kafka": {
                "key": {
                    "type": "string",
                    "description": "post_id in UTF-8; its partition is murmur2(key) mod n, as Kafka's own clients do",
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _dead_letter_message() -> dict[str, Any]:
    headers = {name: {"type": "string", "description": description} for name, description in DEAD_HEADERS.items()}
    return {
        "name": "deadLetter",
        "title": "A record that could not be taken",
        "contentType": "application/octet-stream",
        "headers": {"type": "object", "properties": headers},
        "payload": {"description": "The record's value as it came, whatever it is."},
    }
