"""Is everything there that a worker needs? Each check is one function; `diagnose` runs them all."""

from questream.doctor.diagnosis import diagnose
from questream.doctor.findings import Finding

__all__ = ["Finding", "diagnose"]
