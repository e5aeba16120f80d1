"""The registry of record formats: the values of `input.format`, and what reads each.

A format is `module:function`; the function makes a `records.formats.Deserializer` from the settings of `input`. The
modules are named and not imported, since settings are read before anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

FORMATS = {
    "auto": "questream.records.formats.auto:deserializer",
    "json": "questream.records.formats.json:deserializer",
    "text": "questream.records.formats.text:deserializer",
    "cloudevents": "questream.records.formats.cloudevents:deserializer",
}

if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[tuple(FORMATS)]
