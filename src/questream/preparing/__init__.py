"""Texts as they are asked: a mail becomes the question in it, and what is plain stays as it was sent."""

from questream.preparing.prepare import Preparation, version_of, version_of_function, without_frame

__all__ = ["Preparation", "version_of", "version_of_function", "without_frame"]
