"""Before a run: what it would take of memory, time and energy, which rules fit, and what to change for those that do not."""

from bpfree.planning.budgets import Budget
from bpfree.planning.changes import Change
from bpfree.planning.planner import Plan, PlanRow, plan
from bpfree.planning.prediction import Prediction

__all__ = ["Budget", "Change", "Plan", "PlanRow", "Prediction", "plan"]
