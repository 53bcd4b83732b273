"""Training: the loop, the stop rule, evaluation, checkpoints."""

from bpfree.train.evaluation import Evaluation, evaluate
from bpfree.train.fit import FitResult, best_of, fit
from bpfree.train.stop import Patience
from bpfree.train.training import LR_SCHEDULES, Clock, Progress, WallClock, initialise, past, training

__all__ = [
    "LR_SCHEDULES",
    "Clock",
    "Evaluation",
    "FitResult",
    "Patience",
    "Progress",
    "WallClock",
    "best_of",
    "evaluate",
    "fit",
    "initialise",
    "past",
    "training",
]
