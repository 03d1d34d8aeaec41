"""The OpenAPI document of the collector, and a page for people without scripts and assets."""

from collections.abc import Mapping
from html import escape
from importlib.metadata import version
from typing import Final

from producers.collector.mappers.fields import Json
from schemas.events import event_json_schema

DESCRIPTION: Final = """Takes events of social media over HTTP and answers once Kafka has acked them.

202: all was taken. 207: some items were rejected, which the answer names by index, field and reason. 422: no item was
taken. Bodies may be compressed (Content-Encoding: gzip). A request may be repeated safely: events count once by their
event_id, and a repeated Idempotency-Key with the same body gets the same answer. 429 and 503 come with Retry-After."""

ITEMS: Final[Json] = {
    "type": "object",
    "required": ["accepted", "rejected"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0},
        "ignored": {"type": "integer", "minimum": 1, "description": "Items that say nothing about engagement."},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "field", "reason"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0, "description": "Place in the request, from 0."},
                    "field": {"type": "string", "description": "Dotted path; empty for the whole item."},
                    "reason": {"type": "string"},
                },
            },
        },
    },
}
PROBLEM_SCHEMA: Final[Json] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "The flaw and its cure."},
    },
}
PROBLEMS: Final[Mapping[str, str]] = {
    "400": "The request cannot be read",
    "401": "No key and no signature, or none that is valid",
    "403": "The page or host may not send",
    "408": "The body did not come in time",
    "413": "The body is too large",
    "415": "A media type or encoding that is not taken",
    "429": "Too many requests, or Kafka lags; see Retry-After",
    "503": "Kafka is away; see Retry-After",
}

EVENT_BODIES: Final[Mapping[str, Json]] = {
    "application/json": {
        "schema": {
            "oneOf": [
                {"$ref": "#/components/schemas/Event"},
                {"type": "array", "items": {"$ref": "#/components/schemas/Event"}},
            ]
        }
    },
    "application/x-ndjson": {"schema": {"type": "string", "description": "An event a line."}},
}
ANY_JSON: Final[Mapping[str, Json]] = {"application/json": {"schema": {}}}
CLOUD_EVENT: Final[Json] = {
    "type": "object",
    "required": ["id", "source", "type", "specversion", "data"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1, "description": "kind, where the data has none: com.shop.like"},
        "specversion": {"const": "1.0"},
        "subject": {"type": "string", "description": "post_id, where the data has none"},
        "time": {"type": "string", "format": "date-time", "description": "occurred_at, where the data has none"},
        "data": {"type": "object", "description": "An Event, or an Activity"},
    },
}
ACTIVITY: Final[Json] = {
    "type": "object",
    "required": ["type", "actor"],
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string"},
        "actor": {"type": "string", "description": "An id, or an object that has one"},
        "object": {"description": "An id, or an object that has one"},
    },
}
SUMMARIES: Final[Mapping[str, tuple[str, Mapping[str, Json]]]] = {
    "/v1/events": ("Events of the project's own format: one, an array, or one a line", EVENT_BODIES),
    "/v1/cloudevents": (
        "CloudEvents 1.0, structured, batched or binary, whose data are events or activities",
        {
            "application/cloudevents+json": {"schema": {"$ref": "#/components/schemas/CloudEvent"}},
            "application/cloudevents-batch+json": {
                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}}
            },
        },
    ),
    "/inbox": (
        "Activities of ActivityStreams 2.0: Like, Announce, Create, Update, Undo, Delete",
        {"application/activity+json": {"schema": {"$ref": "#/components/schemas/Activity"}}},
    ),
}
"""What each endpoint that is no hook takes: its summary and its bodies."""


def openapi_document(endpoints: Mapping[str, str]) -> Json:
    """Returns the OpenAPI 3.1 document of the endpoints, given by place, each with its summary where it is a hook."""
    event = event_json_schema()
    event.pop("$schema")
    definitions = event.pop("$defs", {})
    paths: Json = {place: {"post": _post(place, summary)} for place, summary in endpoints.items()}
    paths |= {
        "/healthz": _get("Is the process alive?", "application/json", {"type": "object"}),
        "/readyz": _get("Does Kafka take records?", "application/json", {"type": "object"}, unready=True),
        "/metrics": _get("Prometheus metrics", "text/plain", {"type": "string"}),
        "/openapi.json": _get("This document", "application/json", {"type": "object"}),
        "/docs": _get("This document for people", "text/html", {"type": "string"}),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Engagement collector",
            "version": version("engagement-pipeline"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "security": [{}, {"key": []}, {"signature": []}],
        "components": {
            "schemas": {
                "Event": event,
                "Items": ITEMS,
                "CloudEvent": CLOUD_EVENT,
                "Activity": ACTIVITY,
                "Problem": PROBLEM_SCHEMA,
                **definitions,
            },
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key of `engagement collect-keys add`."},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "webhook-signature",
                    "description": "Standard Webhooks, with webhook-id and webhook-timestamp.",
                },
            },
        },
    }


def docs_page(document: Json) -> str:
    """Returns a page of HTML with the endpoints of a document."""
    rows = []
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            bodies = ", ".join(said.get("requestBody", {}).get("content", {}))
            answers = "".join(
                f"<li><b>{code}</b> {escape(answer['description'])}</li>" for code, answer in said["responses"].items()
            )
            rows.append(
                f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(said['summary'])}</p>"
                + (f"<p>Takes <code>{escape(bodies)}</code></p>" if bodies else "")
                + f"<details><summary>Answers</summary><ul>{answers}</ul></details></section>"
            )
    info = document["info"]
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in info["description"].split("\n\n"))
    fields = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(str(said.get('description', '')))}</td></tr>"
        for name, said in document["components"]["schemas"]["Event"]["properties"].items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title><style>{STYLE}</style>"
        f"<main><h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>{paragraphs}{''.join(rows)}"
        f"<h2>An event</h2><table>{fields}</table><p>All of it: <a href=openapi.json>openapi.json</a></p></main>"
    )


STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff;margin:2rem}main{max-width:52rem;margin:auto}"
    "h2{font-size:1.05rem;margin:1.5rem 0 0}code{background:#f3f3f3;padding:.1rem .3rem;border-radius:3px}"
    "td{vertical-align:top;padding:.2rem .8rem .2rem 0}small{color:#777}"
)


def _post(place: str, summary: str) -> Json:
    summary, bodies = SUMMARIES.get(place, (summary, ANY_JSON))
    items = {"application/json": {"schema": {"$ref": "#/components/schemas/Items"}}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answers: Json = {
        "202": {"description": "All was taken, and Kafka has acked it", "content": items},
        "207": {"description": "Some items were rejected, the others taken", "content": items},
        "422": {"description": "No item was taken, or an Idempotency-Key came with another body",
                "content": {**items, **problem}},
    }  # fmt: skip
    answers |= {code: {"description": said, "content": problem} for code, said in PROBLEMS.items()}
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[!-~]+$"},
        "description": "A repeated request with the same key and body gets the same answer.",
    }
    return {
        "summary": summary,
        "operationId": "post" + "".join(part.title() for part in place.replace("-", "/").split("/")),
        "parameters": [key],
        "requestBody": {"required": True, "content": dict(bodies)},
        "responses": dict(sorted(answers.items())),
    }


def _get(summary: str, media_type: str, schema: Json, unready: bool = False) -> Json:
    answers = {"200": {"description": "Yes" if unready else "It", "content": {media_type: {"schema": schema}}}}
    if unready:
        answers["503"] = {"description": "Not now; `reasons` says why", "content": {media_type: {"schema": schema}}}
    return {"get": {"summary": summary, "responses": answers, "security": []}}
