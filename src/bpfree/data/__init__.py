"""Data sets: loaded once, kept on the device, and given out in batches that depend on their arguments alone.

>>> from bpfree import data
>>> digits = data.load("digits")
>>> batch = next(digits.batches("train", 128, seed=0))
>>> tuple(batch.x.shape)
(128, 1, 8, 8)
"""

from bpfree.data.arrays import from_arrays, load_examples
from bpfree.data.dataset import Batch, Dataset, Examples, TestSplitError
from bpfree.data.registry import describe, load, names

__all__ = ["Batch", "Dataset", "Examples", "TestSplitError", "describe", "from_arrays", "load", "load_examples", "names"]
