"""Real-time question clustering for Kafka."""
