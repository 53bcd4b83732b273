"""Backpropagation: the rule (its mathematics in :mod:`bpfree.algorithms.backprop.rule`) and activation checkpointing."""

from bpfree.algorithms.backprop.rule import Backprop

__all__ = ["Backprop"]
