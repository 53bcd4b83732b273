"""Published numbers as package data: one CSV for each table, and ``sources.yaml``, which says where it comes from.

>>> from bpfree import published
>>> cell = published.find("spyra2025-legacy-runs", "mnist", "mlp:2x1000", "backprop")
>>> round(cell.accuracy, 4), cell.n_runs, cell.second_hand
(0.9805, '3', False)
"""

from bpfree.published.numbers import Number
from bpfree.published.tables import Source, find, numbers, source, tables

__all__ = ["Number", "Source", "find", "numbers", "source", "tables"]
