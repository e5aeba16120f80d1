"""The API keeps to its OpenAPI document, whatever is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from tests.kit.serving import client_of, encoder_of, store_with

if TYPE_CHECKING:
    from schemathesis.schemas import BaseSchema

TEXTS = ["Where is my parcel?", "How do I pay?"]

# What is no request may be so long that it is refused for that.
REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429"]
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})


@pytest.fixture
def document(request: pytest.FixtureRequest) -> BaseSchema:
    """The document of a server with two clusters."""
    # schemathesis 4.32 names its subtests by an attribute that pytest 9.2 has no more.
    request.node._nodeid = request.node.nodeid
    app = client_of(store_with({"shop": TEXTS}), encoder=encoder_of(TEXTS)).app
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "127.0.0.1"}, config=CONFIG)


# By a fixture: what an operation is asked is made when its test runs. At collection, where schemathesis makes it
# otherwise, each process of a parallel run would make all of it.
# Decisions are a stream without an end; dead letters are read from a broker.
schema = (
    schemathesis.pytest.from_fixture("document").exclude(path_regex="/decisions$").exclude(path_regex="/dead-letters")
)


@schema.include(method="GET").parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_of_the_document(case: schemathesis.Case[Any]) -> None:
    assert_answered_by_the_document(case)


@schema.exclude(method="GET").parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_to_what_changes_something_is_one_of_the_document(case: schemathesis.Case[Any]) -> None:
    assert_answered_by_the_document(case)


def assert_answered_by_the_document(case: schemathesis.Case[Any]) -> None:
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    # What a document of JSON Schema lets through may still be no cluster that is there.
    case.call_and_validate(headers={"Host": "127.0.0.1"}, excluded_checks=[positive_data_acceptance])
