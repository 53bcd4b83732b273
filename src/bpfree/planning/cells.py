"""The cost model of a suite: multiply-adds and bytes of every arm's search and runs, and hours at a given speed.

Steps are followed on tensors without numbers, so that nothing is trained, and neither data nor their memory are needed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bpfree.algorithms import step
from bpfree.bench import Arm
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.reproduce import Reproduction
from bpfree.bench.suites.sizes import Size
from bpfree.data import Batch, Dataset
from bpfree.data.stored import Examples
from bpfree.errors import UsageError
from bpfree.nets import build
from bpfree.nets.layout import lay_out
from bpfree.planning.fakes import fake_mode, fake_state
from bpfree.planning.work import RuleWork, work_of
from bpfree.rulesets import Ruleset
from bpfree.rulesets.stopping import phase_cap, stop_in
from bpfree.train import initialise

__all__ = ["ArmCost", "Cells", "cells_of", "followed", "machine_flops_per_second", "search_and_run_macs"]

FLOPS_PER_MAC = 2

TIMED_EXAMPLES, TIMED_STEPS = 2, 2
"""Of the step by which the speed of this machine is measured; the first is not counted."""


@dataclass(frozen=True)
class ArmCost:
    """What an arm's search and measured runs take if no phase ends early.

    Attributes:
        trials, runs: how many.
        search_macs, runs_macs: multiply-adds of all trials, of all runs; None where an operation has no formula (``reason``).
        peak_bytes: of a step or of scoring, the larger.
        hours: at the speed that was given or measured, or the ruleset's cap on the time of each run; None without multiply-adds.
    """

    ruleset: str
    dataset: str
    net: str
    arm: str
    trials: int
    runs: int
    search_macs: float | None
    runs_macs: float | None
    peak_bytes: int
    hours: float | None
    reason: str = ""

    @property
    def cells(self) -> int:
        """Trainings: trials and measured runs."""
        return self.trials + self.runs

    @property
    def macs(self) -> float | None:
        """Of the search and the runs."""
        return None if self.search_macs is None or self.runs_macs is None else self.search_macs + self.runs_macs


@dataclass(frozen=True)
class Cells:
    """All arms of a suite, or of what was chosen of it."""

    arms: tuple[ArmCost, ...]

    @property
    def cells(self) -> int:
        """Trainings in all."""
        return sum(arm.cells for arm in self.arms)

    @property
    def macs(self) -> float | None:
        """Multiply-adds in all; None where they are not known of every arm."""
        known = [arm.macs for arm in self.arms if arm.macs is not None]
        return sum(known) if len(known) == len(self.arms) else None

    @property
    def hours(self) -> float | None:
        """In all, one after another; None where they are not known of every arm."""
        known = [arm.hours for arm in self.arms if arm.hours is not None]
        return sum(known) if len(known) == len(self.arms) else None


def cells_of(
    chosen: Reproduction, flops_per_second: float | None = None, on_arm: Callable[[str], None] = lambda _: None
) -> Cells:
    """Predict every arm of a suite.

    Args:
        chosen: its rows have been checked.
        flops_per_second: of the device that will train; None for this machine, on which a step of backprop on each net is timed.
        on_arm: called with each arm before it is predicted.

    Raises:
        UsageError: a speed that is not above 0, or a data set of unknown size.
    """
    if flops_per_second is not None and not 0 < flops_per_second < float("inf"):
        raise UsageError(f"--flops-per-second must be a number above 0, got {flops_per_second:g}")
    speed = functools.cache(machine_flops_per_second)
    costs = []
    for group in chosen.groups():
        size, rules = chosen.size(group.ruleset, group.dataset), chosen.rules[group.ruleset]
        if size is None:
            raise UsageError(f"the size of data set {group.dataset} is not known; load it first")
        for arm in group.arms:
            on_arm(f"{group.dataset} {group.net} {arm.label}")
            under = ArmRules(rules, arm, group.dataset, group.net)
            work = followed(under.chosen, group.net, size, min(under.rules.batch_size, size.n_train))
            flops = flops_per_second or speed(group.net, size)
            costs.append(_cost(group.ruleset, under, size, work, len(rules.plan.seeds), flops))
    return Cells(tuple(costs))


def followed(arm: Arm, spec: str, size: Size, batch_size: int) -> RuleWork:
    """The work of an arm on a net, for data of a size, which are not there."""
    rule, net, mode = arm.build({}), build(spec, size.in_shape, size.n_classes), fake_mode()
    lay_out(net, torch.device("cpu"))
    return work_of(rule, net, fake_state(mode, rule, net), _absent(size), batch_size, mode)


def _absent(size: Size) -> Dataset:
    """A data set of a size that takes no memory: every number is the same one."""

    def examples(n: int) -> Examples:
        return Examples(torch.zeros(()).expand(n, *size.in_shape), torch.zeros((), dtype=torch.int64).expand(n))

    splits = {"train": examples(size.n_train), "validation": examples(size.n_validation), "test": examples(size.n_test)}
    return Dataset(
        name="absent", n_classes=size.n_classes, in_shape=size.in_shape, split_digest="0" * 64, note="sizes only", splits=splits
    )


def search_and_run_macs(under: ArmRules, size: Size, work: RuleWork) -> tuple[float, float] | None:
    """Multiply-adds of one trial and of one measured run with its test; None where an operation has no formula."""
    parts = [each.macs for phase in work.phases for each in (phase.step, phase.close, phase.features)]
    if work.scoring.macs is None or any(part is None for part in parts):
        return None
    trial_examples = under.rules.trial_examples(size.n_train, size.n_classes)
    score = work.scoring.macs / size.n_validation
    trial = _training(under, size, work, trial_examples, trial=True)
    return trial, _training(under, size, work, size.n_train, trial=False) + size.n_test * score


def _training(under: ArmRules, size: Size, work: RuleWork, n_train: int, *, trial: bool) -> float:
    """Every pass that the rules allow: its steps, what closes it, and its validation; features once, at the start of a phase."""
    stop, used, total = under.stop(trial=trial), 0, 0.0
    steps = n_train / min(under.rules.batch_size, size.n_train)
    for each in work.phases:
        passes = phase_cap(stop_in(stop, each.phase), used, each.phase)
        used += passes
        a_pass = steps * (each.step.macs or 0.0) + (each.close.macs or 0.0) + (work.scoring.macs or 0.0)
        total += passes * a_pass + ((each.features.macs or 0.0) if passes else 0.0)
    return total


def _cost(key: str, under: ArmRules, size: Size, work: RuleWork, runs: int, flops_per_second: float) -> ArmCost:
    peak = max(work.memory.peak + work.cache_bytes, work.scoring_bytes)
    place = (key, under.dataset, under.net, under.arm.label, under.trials, runs)
    macs = search_and_run_macs(under, size, work)
    if macs is None:
        whys = [each.why_no_macs for phase in work.phases for each in (phase.step, phase.close, phase.features)]
        return ArmCost(*place, None, None, peak, None, next(filter(None, [*whys, work.scoring.why_no_macs])))
    trial_s, run_s = (_within(under.rules, FLOPS_PER_MAC * each / flops_per_second) for each in macs)
    hours = (under.trials * trial_s + runs * run_s) / 3600
    return ArmCost(*place, under.trials * macs[0], runs * macs[1], peak, hours)


def _within(rules: Ruleset, seconds: float) -> float:
    most = rules.budget.max_hours
    return seconds if most is None else min(seconds, 3600 * most)


def machine_flops_per_second(spec: str, size: Size) -> float:
    """What backprop's step on a net reaches on this machine's processor, with few examples; other rules are taken to reach it."""
    rule, net = Arm.parse("backprop").build({}), build(spec, size.in_shape, size.n_classes)
    macs = followed(Arm.parse("backprop"), spec, size, TIMED_EXAMPLES).phases[0].step.macs
    state = initialise(rule, net, 0)
    batch = Batch(torch.rand(TIMED_EXAMPLES, *size.in_shape), torch.zeros(TIMED_EXAMPLES, dtype=torch.int64), torch.tensor(0))
    (phase,) = rule.phases(net)
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        begin = time.perf_counter()
        step(rule, net, state, batch, phase)
        seconds.append(time.perf_counter() - begin)
    assert macs is not None
    return FLOPS_PER_MAC * macs / min(seconds[1:])
