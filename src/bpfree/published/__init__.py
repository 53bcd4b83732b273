"""Published numbers as package data: one CSV for each table, and ``sources.yaml``, which says where it comes from.

>>> from bpfree import published
>>> number = published.find("spyra2025-legacy-runs", "mnist", "mlp:2x1000", "backprop")
>>> round(number.accuracy, 4), number.n_runs, number.second_hand
(0.9805, '3', False)
"""

from bpfree.published.numbers import SPREAD_SDS, Number
from bpfree.published.tables import Source, find, numbers, source, tables

__all__ = ["SPREAD_SDS", "Number", "Source", "find", "numbers", "source", "tables"]
