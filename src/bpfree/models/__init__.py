"""Trained models: one file to keep each in, and what using one costs."""

from bpfree.models.card import card_path
from bpfree.models.exporting import Exported, export
from bpfree.models.header import ModelHeader
from bpfree.models.inference import BATCH_SIZES, InferenceCost, measure_inference
from bpfree.models.model import Model
from bpfree.models.readouts import all_readouts, readout_of, readouts
from bpfree.models.saved import load, read_header, save

__all__ = [
    "BATCH_SIZES",
    "Exported",
    "InferenceCost",
    "Model",
    "ModelHeader",
    "all_readouts",
    "card_path",
    "export",
    "load",
    "measure_inference",
    "read_header",
    "readout_of",
    "readouts",
    "save",
]
