"""The adapter of kafka-python, which is imported here alone, and mended before it is used."""

import questream.broker.kafka_python.patches  # noqa: F401 - it mends what all others use
