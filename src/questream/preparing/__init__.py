"""Texts as they are asked: a mail becomes the question in it, and what is plain stays as it was sent."""

from questream.preparing.boilerplate import Boilerplate
from questream.preparing.prepare import Preparation, without_frame

__all__ = ["Boilerplate", "Preparation", "without_frame"]
