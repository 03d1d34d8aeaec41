"""The collector does as its OpenAPI document says: requests made from the document, valid and not.

Left out is the check that whatever fits the document is taken: it cannot say that an Idempotency-Key came before, or
which activities a Like can be taken back from.
"""

import json
from typing import Any

import hypothesis
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.fakes_collector import FakeCollector


@schemathesis.serializer("application/x-ndjson")
def lines(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    """Whatever is made for a body of lines, as bytes."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", FakeCollector().app)


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_every_answer_is_as_documented(case: schemathesis.Case) -> None:
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
