"""The command `questream`. What needs a model, Kafka or Redis is imported when a command runs, not before."""

from questream.cli.process import main

__all__ = ["main"]
