"""Is everything there that a worker needs? Each check is one function; `diagnose` runs them all."""

from questream.tools.doctor.diagnosis import diagnose
from questream.tools.doctor.findings import Finding, failures

__all__ = ["Finding", "diagnose", "failures"]
