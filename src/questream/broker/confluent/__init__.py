"""The adapter of confluent-kafka (librdkafka), which is imported here alone: an extra, `confluent`."""
