"""Texts as they are asked: a mail becomes the question in it, and what is plain stays as it was sent."""

from questream.preparing.prepare import Preparation, without_frame

__all__ = ["Preparation", "without_frame"]
