"""Cascaded-Forward: the rule (its mathematics in :mod:`bpfree.algorithms.cascaded_forward.rule`) and its slots."""

from bpfree.algorithms.cascaded_forward.rule import CascadedForward

__all__ = ["CascadedForward"]
