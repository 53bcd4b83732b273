"""What a rule does beside learning: how well its updates align with backprop's, and whether its weights stay orthogonal."""

from bpfree.analysis.alignment import Alignment, alignment, alignment_over_training
from bpfree.analysis.orthogonality import defects, orthogonality_over_training
from bpfree.analysis.series import KINDS, SeriesPlan, record_series

__all__ = [
    "KINDS",
    "Alignment",
    "SeriesPlan",
    "alignment",
    "alignment_over_training",
    "defects",
    "orthogonality_over_training",
    "record_series",
]
