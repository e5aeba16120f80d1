"""The threshold that suits a stream: from labelled pairs, gold groups, a sample alone, or a few answers."""

from questream.lab.calibration.unlabelled import propose_threshold

__all__ = ["propose_threshold"]
