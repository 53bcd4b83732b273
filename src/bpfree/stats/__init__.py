"""Statistics of comparisons: what may be claimed from a few seeds, and in which words.

Torch-free. Every function is pure. The paired t interval decides (:mod:`~bpfree.stats.intervals`); Welch's interval, signed ranks
and the bootstrap over seeds and test examples are second opinions. Whether the luck of a search and of a split is in an interval
depends on what the pairs are: seeds of one search do not carry it, studies do (:mod:`~bpfree.stats.crossed`).

>>> from bpfree import stats
>>> mono = {0: 0.972, 1: 0.975, 2: 0.970, 3: 0.978, 4: 0.974}
>>> back = {0: 0.965, 1: 0.969, 2: 0.966, 3: 0.970, 4: 0.968}
>>> stats.verdict(stats.paired_difference(mono, back), margin=0.0025).sentence
'better: +0.62 points [+0.44, +0.80], p < 0.001, 5 paired seeds.'
"""

from bpfree.stats.bootstrap import bootstrap_by_seed, hierarchical_bootstrap
from bpfree.stats.crossed import Crossed, crossed_comparison, crossed_interval
from bpfree.stats.intervals import LEVEL, Interval, Paired, mean_interval, paired_difference, paired_ratio
from bpfree.stats.looks import level_at_look, levels_of_looks, spent
from bpfree.stats.planning import OPTIONAL_STOPPING, least_detectable_difference, power_of, seeds_needed
from bpfree.stats.replication import Replication, compare_published
from bpfree.stats.significance import Equivalence, PValue, holm, tost, wilcoxon
from bpfree.stats.targets import (
    Entry,
    Profile,
    energy_to_target,
    pareto_front,
    performance_profile,
    time_to_target,
)
from bpfree.stats.unpaired import Summary, Welch, paired_correlation, summary, welch, welch_of_summaries
from bpfree.stats.verdicts import Comparison, TableValues, compare_family, compare_tables, family_words, verdict
from bpfree.stats.words import LEAST_PAIRS, Evidence, Verdict, Word, judge, resolved_margin

__all__ = [
    "LEAST_PAIRS",
    "LEVEL",
    "OPTIONAL_STOPPING",
    "Comparison",
    "Crossed",
    "Entry",
    "Equivalence",
    "Evidence",
    "Interval",
    "PValue",
    "Paired",
    "Profile",
    "Replication",
    "Summary",
    "TableValues",
    "Verdict",
    "Welch",
    "Word",
    "bootstrap_by_seed",
    "compare_family",
    "compare_published",
    "compare_tables",
    "crossed_comparison",
    "crossed_interval",
    "energy_to_target",
    "family_words",
    "hierarchical_bootstrap",
    "holm",
    "judge",
    "least_detectable_difference",
    "level_at_look",
    "levels_of_looks",
    "mean_interval",
    "paired_correlation",
    "paired_difference",
    "paired_ratio",
    "pareto_front",
    "performance_profile",
    "power_of",
    "resolved_margin",
    "seeds_needed",
    "spent",
    "summary",
    "time_to_target",
    "tost",
    "verdict",
    "welch",
    "welch_of_summaries",
    "wilcoxon",
]
