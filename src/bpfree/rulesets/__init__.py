"""Rulesets: the rules that all arms of a table share, as frozen values with a digest, and in plain English.

>>> from bpfree import rulesets
>>> quick = rulesets.load("quick")
>>> quick.search.trials, quick.stop.patience, quick.passes("digits")
(8, 10, 40)
>>> rulesets.difference(quick, quick.with_changes(trials=4))
['search.trials: 8 against 4']
"""

from bpfree.rulesets.changed import changed_rules
from bpfree.rulesets.declared import declared_ranges, with_spaces
from bpfree.rulesets.digest import digest, hashed_fields, short_digest
from bpfree.rulesets.equal import check_equal, refuse_mixed
from bpfree.rulesets.files import load, names, save
from bpfree.rulesets.ranges import Range, ranges_of
from bpfree.rulesets.ruleset import ALIASES, Ruleset
from bpfree.rulesets.schema import SCHEMA_VERSION, ArmException, Budget, Plan, Stop
from bpfree.rulesets.search import Grid, QuasiRandom, Random, Sampler, Search
from bpfree.rulesets.splits import Split, standard_split
from bpfree.rulesets.stopping import EndReason, Metric, Patience, StopRule, Watch, end_reason, stop_in
from bpfree.rulesets.words import difference, exception_in_words, in_words

__all__ = [
    "ALIASES",
    "SCHEMA_VERSION",
    "ArmException",
    "Budget",
    "EndReason",
    "Grid",
    "Metric",
    "Patience",
    "Plan",
    "QuasiRandom",
    "Random",
    "Range",
    "Ruleset",
    "Sampler",
    "Search",
    "Split",
    "Stop",
    "StopRule",
    "Watch",
    "changed_rules",
    "check_equal",
    "declared_ranges",
    "difference",
    "digest",
    "end_reason",
    "exception_in_words",
    "hashed_fields",
    "in_words",
    "load",
    "names",
    "ranges_of",
    "refuse_mixed",
    "save",
    "short_digest",
    "standard_split",
    "stop_in",
    "with_spaces",
]
