"""What a rule does beside learning: how well its updates align with backprop's, whether its weights stay orthogonal, and what the
loss looks like around and between the minima where it ends."""

from bpfree.analysis.alignment import Alignment, alignment, alignment_over_training
from bpfree.analysis.connectivity import Line, Plane, line, plane
from bpfree.analysis.curvature import Curvature, curvature
from bpfree.analysis.landscape import record_landscape
from bpfree.analysis.landscape_plan import PARTS, LandscapePlan
from bpfree.analysis.landscape_stats import QUANTITIES
from bpfree.analysis.minima import Minimum, check_together, read_minima
from bpfree.analysis.orthogonality import defects, orthogonality_over_training
from bpfree.analysis.series import KINDS, SeriesPlan, record_series
from bpfree.analysis.slices import Sharpness, Slices, random_slices, sharpness
from bpfree.analysis.surface import Material, Surface

__all__ = [
    "KINDS",
    "PARTS",
    "QUANTITIES",
    "Alignment",
    "Curvature",
    "LandscapePlan",
    "Line",
    "Material",
    "Minimum",
    "Plane",
    "SeriesPlan",
    "Sharpness",
    "Slices",
    "Surface",
    "alignment",
    "alignment_over_training",
    "check_together",
    "curvature",
    "defects",
    "line",
    "orthogonality_over_training",
    "plane",
    "random_slices",
    "read_minima",
    "record_landscape",
    "record_series",
    "sharpness",
]
