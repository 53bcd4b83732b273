"""Forward-Forward: the rule (its mathematics in :mod:`bpfree.algorithms.forward_forward.rule`), its rows and painted labels."""

from bpfree.algorithms.forward_forward.rule import ForwardForward

__all__ = ["ForwardForward"]
