"""What training refuses: options that are none, a budget without a pass for each phase, and rules that change what a pass is."""

from __future__ import annotations

import math

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.data import Dataset
from bpfree.errors import UsageError, unknown_name
from bpfree.nets import Chain
from bpfree.rulesets.stopping import StopRule, stop_in
from bpfree.train.given import check_fits, check_mode, check_whole
from bpfree.train.schedules import LR_SCHEDULES

__all__ = ["check_budget", "check_pass", "check_schedule", "check_values"]


def check_values(net: Chain, data: Dataset, batch_size: int, seed: int, lr_schedule: str) -> None:
    """Refuse values of options that are out of range or unknown, and a net that was built for other data.

    Raises:
        UsageError: naming the option.
    """
    check_whole("batch_size", batch_size, 1)
    check_whole("seed", seed, 0)
    if lr_schedule not in LR_SCHEDULES:
        raise unknown_name("lr_schedule", lr_schedule, LR_SCHEDULES)
    check_mode(data.device)
    check_fits(net, data)
    net.check_batches(data.n("train"), batch_size)


def check_budget(algorithm: Algorithm, phases: tuple[Phase, ...], stop: StopRule) -> None:
    """Refuse a cap that would leave a phase without a single pass: what it learns would stay as it was drawn.

    Raises:
        UsageError: naming the phases and the least cap.
    """
    rule = stop_in(stop, phases[0])
    if not rule.per_phase and rule.max_passes < len(phases):
        raise UsageError(
            f"{algorithm.name} trains this net in {len(phases)} phases ({', '.join(phase.name for phase in phases)}), each of at "
            f"least one pass, but max_passes is {rule.max_passes}; use --max-passes {len(phases)} or more"
        )


def check_pass(algorithm: Algorithm, data: Dataset, batch_size: int, steps: int, examples: int) -> None:
    """A pass is every training example once; counted where the batches go by.

    Raises:
        UsageError: it was not.
    """
    n = data.n("train")
    if (steps, examples) != (data.n_batches("train", batch_size), n):
        raise UsageError(
            f"{algorithm.name} took {steps} steps over {examples} examples in a pass over {n} training examples in batches of "
            f"{batch_size}; a pass must read every example once"
        )


def check_schedule(algorithm: Algorithm, state: State, given: list[float]) -> None:
    """A schedule is open to all arms or to none: a rule that moves its learning rates by itself is refused."""
    now = [float(optimiser.lr_now) for optimiser in state.optimisers()]
    if any(not math.isclose(one, other, rel_tol=1e-5) for one, other in zip(now, given, strict=True)):
        raise UsageError(
            f"{algorithm.name} changed its learning rate by itself during a pass (from {given} to {now}); a schedule is open to "
            f"every arm or to none: give the ruleset an lr_schedule (one of {', '.join(LR_SCHEDULES)})"
        )
