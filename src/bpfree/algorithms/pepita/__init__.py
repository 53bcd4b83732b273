"""PEPITA: the rule (its mathematics in :mod:`bpfree.algorithms.pepita.rule`), responses of blocks and weight mirroring."""

from bpfree.algorithms.pepita.rule import Pepita, PepitaState

__all__ = ["Pepita", "PepitaState"]
