"""Training: the loop, the stop rule, evaluation, checkpoints."""

from bpfree.rulesets import Patience, StopRule, stop_in
from bpfree.train.budget import ShortBudgetWarning, default_stop, short_budget
from bpfree.train.checks import check_budget
from bpfree.train.clock import Clock, WallClock
from bpfree.train.compiling import compile_steps
from bpfree.train.cursor import check_identity, counted, past
from bpfree.train.evaluation import Evaluation, evaluate
from bpfree.train.features import read_by
from bpfree.train.fit import Callback, fit
from bpfree.train.health import Health, UnhealthyNetWarning, health_of, warn_of_health
from bpfree.train.replay import STEPS_BEFORE_REPETITION, Replay, can_replay
from bpfree.train.result import FitResult, best_of
from bpfree.train.schedules import LR_SCHEDULES
from bpfree.train.tiers import TIERS, Tier, check_tier, stepper
from bpfree.train.training import Progress, initialise, training

__all__ = [
    "LR_SCHEDULES",
    "STEPS_BEFORE_REPETITION",
    "TIERS",
    "Callback",
    "Clock",
    "Evaluation",
    "FitResult",
    "Health",
    "Patience",
    "Progress",
    "Replay",
    "ShortBudgetWarning",
    "StopRule",
    "Tier",
    "UnhealthyNetWarning",
    "WallClock",
    "best_of",
    "can_replay",
    "check_budget",
    "check_identity",
    "check_tier",
    "compile_steps",
    "counted",
    "default_stop",
    "evaluate",
    "fit",
    "health_of",
    "initialise",
    "past",
    "read_by",
    "short_budget",
    "stepper",
    "stop_in",
    "training",
    "warn_of_health",
]
