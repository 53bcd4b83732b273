"""FOTON: the rule, its mathematics in :mod:`bpfree.algorithms.foton.rule`."""

from bpfree.algorithms.foton.rule import Foton, FotonState

__all__ = ["Foton", "FotonState"]
