"""The command `questream`. What needs a model, Kafka or Redis is imported when a command runs, not before."""

from questream.cli.app import app, main

__all__ = ["app", "main"]
