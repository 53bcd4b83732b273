"""Training: the loop, the stop rule, evaluation, checkpoints."""

from bpfree.train.evaluation import Evaluation, evaluate
from bpfree.train.features import read_by
from bpfree.train.fit import FitResult, best_of, fit
from bpfree.train.stop import Patience, StopRule, stop_in
from bpfree.train.training import LR_SCHEDULES, Clock, Progress, WallClock, check_budget, initialise, past, training

__all__ = [
    "LR_SCHEDULES",
    "Clock",
    "Evaluation",
    "FitResult",
    "Patience",
    "Progress",
    "StopRule",
    "WallClock",
    "best_of",
    "check_budget",
    "evaluate",
    "fit",
    "initialise",
    "past",
    "read_by",
    "stop_in",
    "training",
]
