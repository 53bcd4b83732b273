"""Data sets: loaded once, stored on the device, and read in batches that are a pure function of their arguments.

>>> from bpfree import data
>>> digits = data.load("digits")
>>> batch = next(digits.batches("train", 128, seed=0))
>>> tuple(batch.x.shape)
(128, 1, 8, 8)
"""

from bpfree.data.arrays import from_arrays
from bpfree.data.axes import ChannelsWarning
from bpfree.data.batch import Batch
from bpfree.data.columns import Column, Columns
from bpfree.data.dataset import Dataset, TestSplitError
from bpfree.data.example_files import load_examples, load_labels
from bpfree.data.labels import ClassNames
from bpfree.data.loaders import Loader, from_loaders
from bpfree.data.new_examples import new_examples
from bpfree.data.own import Source, function_of, load_any
from bpfree.data.reading import Files, Reading
from bpfree.data.registry import check_name, describe, load, names
from bpfree.data.stored import Examples
from bpfree.data.tables import Table, from_table

__all__ = [
    "Batch",
    "ChannelsWarning",
    "ClassNames",
    "Column",
    "Columns",
    "Dataset",
    "Examples",
    "Files",
    "Loader",
    "Reading",
    "Source",
    "Table",
    "TestSplitError",
    "check_name",
    "describe",
    "from_arrays",
    "from_loaders",
    "from_table",
    "function_of",
    "load",
    "load_any",
    "load_examples",
    "load_labels",
    "names",
    "new_examples",
]
