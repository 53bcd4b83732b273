"""Why a phase of training ends: the words of the stop rule, of a record and of a report."""

from __future__ import annotations

from typing import Literal

__all__ = ["EndReason"]

EndReason = Literal["patience", "cap", "hours", "itself", "diverged"]
"""See :func:`bpfree.rulesets.end_reason`, which says when each holds."""
