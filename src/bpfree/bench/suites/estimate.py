"""Upper bound of the cost of an arm before it is run: a few timed steps, times all passes that its rules allow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bpfree.algorithms import Phase, step
from bpfree.bench.arm import Arm
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.suites.sizes import Size
from bpfree.data import Batch
from bpfree.meter import Meter
from bpfree.nets import build
from bpfree.rulesets import Ruleset
from bpfree.rulesets.stopping import phase_cap, stop_in
from bpfree.train import initialise

__all__ = ["METHOD", "Estimate", "Timing", "estimate", "time_steps"]

METHOD = (
    "upper bound: a few timed steps of each phase and scorings, on this machine with random inputs, times all passes of all "
    "trials and runs; early stopping makes it less"
)
CLOCKED_S, MOST_REPEATS = 0.4, 10
"""How long, and how often at most, a step is repeated under the clock."""

NO_POWER = "nothing measures the power here (bpfree doctor says what would)"
UNRESOLVED = "the timed steps were too short for the energy counter"


@dataclass(frozen=True)
class Timing:
    """Seconds of a step by phase, and of scoring one example; ``watts`` while they ran, or None with the reason."""

    phases: tuple[Phase, ...]
    step_s: tuple[float, ...]
    score_s: float
    watts: float | None
    watts_reason: str


@dataclass(frozen=True)
class Estimate:
    """Upper bound of what one arm takes on a data set with a net: its search and its measured runs; joules None with a reason."""

    search_s: float
    runs_s: float
    joules: float | None
    joules_reason: str

    @property
    def hours(self) -> float:
        """Both together."""
        return (self.search_s + self.runs_s) / 3600


def time_steps(arm: Arm, net: str, size: Size, batch_size: int, device: torch.device, meter: Meter) -> Timing:
    """Run each phase's step and the scoring of a batch on random examples, once unclocked and then for :data:`CLOCKED_S`.

    Raises:
        UsageError: the rule cannot train this net.
    """
    algorithm = arm.build({})
    chain = build(net, size.in_shape, size.n_classes)
    state = initialise(algorithm, chain, 0, device)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch_size, *size.in_shape, generator=generator).to(device)
    y = torch.randint(size.n_classes, (batch_size,), generator=generator).to(device)
    batch = Batch(x, y, torch.tensor(0, device=device))
    phases = algorithm.phases(chain)

    def scored() -> float:
        chain.eval()
        with torch.no_grad():
            return float(algorithm.scores(chain, state, batch.x, phases[-1]).sum())  # waits for the device

    with meter.window() as window:
        steps = tuple(_mean_s(lambda p=phase: float(step(algorithm, chain, state, batch, p).sum())) for phase in phases)
        score_s = _mean_s(scored) / batch_size
    reading = window.reading
    assert reading is not None
    if reading.joules is None:
        return Timing(phases, steps, score_s, None, reading.reasons.get("energy.joules", NO_POWER))
    if not reading.resolved:
        return Timing(phases, steps, score_s, None, UNRESOLVED)
    return Timing(phases, steps, score_s, reading.joules / reading.time_s, "")


def _mean_s(work: Callable[[], float]) -> float:
    """Mean over several steps: some algorithms have expensive steps now and then (FOTON orthogonalises in every tenth)."""
    work()
    before, n = time.perf_counter(), 0
    while n == 0 or (n < MOST_REPEATS and time.perf_counter() - before < CLOCKED_S):
        work()
        n += 1
    return (time.perf_counter() - before) / n


def estimate(rules: Ruleset, arm: Arm, dataset: str, net: str, size: Size, timing: Timing, n_seeds: int) -> Estimate:
    """Cost of one arm on a data set with a net, under the suite's ruleset (its exceptions are applied here)."""
    trial_s, run_s = (_run_s(rules, arm, dataset, net, size, timing, trial=trial) for trial in (True, False))
    run_s += size.n_test * timing.score_s
    search_s, runs_s = ArmRules(rules, arm, dataset, net).trials * trial_s, n_seeds * run_s
    joules = None if timing.watts is None else timing.watts * (search_s + runs_s)
    return Estimate(search_s, runs_s, joules, timing.watts_reason)


def _run_s(rules: Ruleset, arm: Arm, dataset: str, net: str, size: Size, timing: Timing, *, trial: bool) -> float:
    under = ArmRules(rules, arm, dataset, net)
    stop = under.stop(trial=trial)
    total_s, used = 0.0, 0
    n_steps = -(-size.n_train // under.rules.batch_size)
    for phase, step_s in zip(timing.phases, timing.step_s, strict=True):
        passes = phase_cap(stop_in(stop, phase), used, phase)
        used += passes
        total_s += passes * (n_steps * step_s + size.n_validation * timing.score_s)
    max_hours = under.rules.budget.max_hours
    return total_s if max_hours is None else min(total_s, 3600 * max_hours)
