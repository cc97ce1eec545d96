"""The doctor: everything that a run needs, looked at for real, each with one sentence and a remedy."""

from __future__ import annotations

from ccdtasks.doctor.examination import examine
from ccdtasks.doctor.finding import Finding

__all__ = ["Finding", "examine"]
