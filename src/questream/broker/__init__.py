"""Kafka behind a port: what the product asks of a broker, and the adapter that is built on kafka-python."""
