"""Texts as they are asked: a mail becomes the question in it, and what is plain stays as it was sent."""

from questream.preparing.boilerplate import Boilerplate
from questream.preparing.prepare import PREPARATION, without_frame

__all__ = ["PREPARATION", "Boilerplate", "without_frame"]
