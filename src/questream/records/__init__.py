"""The bytes of Kafka: consumed records in, decisions, cluster states and dead letters out."""

from questream.records.corrections import encode_corrections
from questream.records.decode import QuestionDecoder, open_decoder
from questream.records.encode import encode_decision
from questream.records.formats import Deserializer
from questream.records.headers import (
    Origin,
    Reference,
    dead_letter_headers,
    dead_letter_origin,
    dead_letter_reference,
    passthrough_headers,
    reference_letter,
    strip_dead_letter_headers,
)
from questream.records.levels import (
    PublishedLevels,
    encode_levels,
    is_levels_key,
    levels_document,
    names_document,
    read_levels_document,
    read_names,
)
from questream.records.operations import decode_operation, encode_operation
from questream.records.published import read_decision
from questream.records.reasons import Reason
from questream.records.schemas import load_schema
from questream.records.states import (
    decode_cluster_state,
    decode_namespace_state,
    encode_cluster_state,
    encode_namespace_state,
    is_cluster_key,
    is_namespace_key,
)

__all__ = [
    "Deserializer",
    "Origin",
    "PublishedLevels",
    "QuestionDecoder",
    "Reason",
    "Reference",
    "dead_letter_headers",
    "dead_letter_origin",
    "dead_letter_reference",
    "decode_cluster_state",
    "decode_namespace_state",
    "decode_operation",
    "encode_cluster_state",
    "encode_corrections",
    "encode_decision",
    "encode_levels",
    "encode_namespace_state",
    "encode_operation",
    "is_cluster_key",
    "is_levels_key",
    "is_namespace_key",
    "levels_document",
    "load_schema",
    "names_document",
    "open_decoder",
    "passthrough_headers",
    "read_decision",
    "read_levels_document",
    "read_names",
    "reference_letter",
    "strip_dead_letter_headers",
]
