"""Statistics of comparisons: what may be claimed from a few seeds, and in which words.

Conditional on one search and one split: a tuned arm is compared with a tuned arm, and the luck of their
searches is not in the interval. The paired t interval decides; bootstrap and signed ranks stand beside it.

>>> from bpfree import stats
>>> mono = {0: 0.972, 1: 0.975, 2: 0.970, 3: 0.978, 4: 0.974}
>>> back = {0: 0.965, 1: 0.969, 2: 0.966, 3: 0.970, 4: 0.968}
>>> stats.verdict(stats.paired_difference(mono, back), margin=0.0025).sentence
'better: +0.62 points [+0.44, +0.80], p < 0.001, 5 paired seeds.'
"""

from bpfree.stats.bootstrap import hierarchical_bootstrap
from bpfree.stats.intervals import LEVEL, Interval, Paired, mean_interval, paired_difference, paired_ratio
from bpfree.stats.significance import Equivalence, PValue, Welch, holm, tost, welch, wilcoxon
from bpfree.stats.targets import (
    Entry,
    Profile,
    energy_to_target,
    pareto_front,
    performance_profile,
    time_to_target,
)
from bpfree.stats.verdicts import Comparison, Verdict, compare_family, seeds_needed, verdict

__all__ = [
    "LEVEL",
    "Comparison",
    "Entry",
    "Equivalence",
    "Interval",
    "PValue",
    "Paired",
    "Profile",
    "Verdict",
    "Welch",
    "compare_family",
    "energy_to_target",
    "hierarchical_bootstrap",
    "holm",
    "mean_interval",
    "paired_difference",
    "paired_ratio",
    "pareto_front",
    "performance_profile",
    "seeds_needed",
    "time_to_target",
    "tost",
    "verdict",
    "welch",
    "wilcoxon",
]
