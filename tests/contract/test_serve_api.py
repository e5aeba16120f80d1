"""The API keeps to its OpenAPI document, whatever is asked of it."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.kit.serving import client_of, encoder_of, store_with

TEXTS = ["Where is my parcel?", "How do I pay?"]
APP = client_of(store_with({"shop": TEXTS}), encoder=encoder_of(TEXTS)).app

# What is no request may be so long that it is refused for that.
REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429"]
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})

# Decisions are a stream without an end; dead letters are read from a broker.
schema = (
    schemathesis.openapi.from_asgi("/openapi.json", APP, headers={"Host": "127.0.0.1"}, config=CONFIG)
    .exclude(path_regex="/decisions$")
    .exclude(path_regex="/dead-letters")
)


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_of_the_document(case: schemathesis.Case[Any]) -> None:
    # What a document of JSON Schema lets through may still be no cluster that is there.
    case.call_and_validate(headers={"Host": "127.0.0.1"}, excluded_checks=[positive_data_acceptance])
