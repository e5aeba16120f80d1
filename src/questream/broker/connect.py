"""Clients for Kafka, made from settings. Here alone stands which adapter makes them."""

from __future__ import annotations

from questream.broker.kafka_python import connect as kafka_python
from questream.broker.port import Adapter


def _adapter() -> Adapter:
    return kafka_python


_ADAPTER = _adapter()
check_options = _ADAPTER.check_options
make_consumer = _ADAPTER.make_consumer
make_producer = _ADAPTER.make_producer
open_admin = _ADAPTER.open_admin
open_producer = _ADAPTER.open_producer
open_reader = _ADAPTER.open_reader
