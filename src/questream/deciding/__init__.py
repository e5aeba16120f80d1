"""Turns vectors into committed decisions."""
