"""The schemas of what is published, to hold a record to."""

from __future__ import annotations

import functools

from jsonschema import Draft202012Validator

from questream.records import load_schema


@functools.cache
def schema_of(name: str) -> Draft202012Validator:
    """What validates a record by the schema of this name: `schema_of("decision").validate(record)`.

    The schema is checked once; `jsonschema.validate` does it for each record, in ten times what the record takes.
    """
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)
