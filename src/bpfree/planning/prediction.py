"""Bytes, multiply-adds and seconds of a training that has not begun."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch

from bpfree.algorithms import check_net
from bpfree.bench import Arm
from bpfree.bench.cost_table import MemoryBytes
from bpfree.data import Dataset
from bpfree.errors import BpfreeError, UsageError
from bpfree.nets import Chain, named
from bpfree.planning.clock import Clock, NotTimedError, now
from bpfree.planning.power import MeteredPower
from bpfree.planning.work import PhaseWork, RuleWork, Work, step_bytes, work_of
from bpfree.rulesets.stopping import Patience, phase_cap
from bpfree.train import initialise
from bpfree.train.evaluation import EVALUATION_BATCH
from bpfree.units import format_bytes

__all__ = ["Prediction", "Predictor"]

DRAWN, DRAWS = 8, 5
"""Batches that are drawn to time the drawing, and how often."""

LEAST_TIMES = 3
"""Weights, and two moments of each or a gradient and one: what training needs of every parameter at least."""


@dataclass(frozen=True)
class Prediction:
    """One arm on one net with one size of batch; what is not known is None, with the reason in ``reasons`` under its name.

    Attributes:
        memory: bytes at the highest moment of a training step.
        feature_cache_bytes: of what the rule computes once for all examples and keeps.
        scoring_bytes: most bytes while the validation split is scored, what persists included.
        step_macs, pass_macs: multiply-adds of a step (mean over the phases) and of a pass with its validation.
        step_s, pass_s, run_s: seconds of the same, and of ``passes`` passes.
        joules: of the run.
        power: how its watts are known.
        passes: of the run, over all its phases.
        refusal: why the rule cannot train the net; then all else is None.
    """

    arm: str
    net: str
    batch_size: int
    passes: int
    memory: MemoryBytes | None = None
    feature_cache_bytes: int | None = None
    scoring_bytes: int | None = None
    step_macs: float | None = None
    pass_macs: float | None = None
    step_s: float | None = None
    pass_s: float | None = None
    run_s: float | None = None
    joules: float | None = None
    power: str | None = None
    refusal: str | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def peak_bytes(self) -> int | None:
        """Of a training step and of scoring, the larger: what has to fit."""
        if self.memory is None:
            return None
        return max(self.memory.peak + (self.feature_cache_bytes or 0), self.scoring_bytes or 0)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self) | {"peak_bytes": self.peak_bytes}


class Predictor:
    """Predicts arms on nets for one data set; what was asked once is remembered.

    Args:
        data: without a test split or with one; its shapes and sizes are used, and some batches are drawn to time the drawing.
        clock: seconds of operations on this machine.
        power: of earlier runs.
    """

    def __init__(self, data: Dataset, clock: Clock, power: MeteredPower) -> None:
        self.data = data.without_test()
        self.clock = clock
        self.power = power
        self._works: dict[tuple[str, str, int], RuleWork] = {}
        self._bytes: dict[tuple[str, str, int], int] = {}
        self._draws_s: dict[int, tuple[float, float]] = {}

    def net(self, spec: str) -> Chain:
        """A new net for the data.

        Raises:
            UsageError: it cannot be built.
        """
        return named(spec, self.data.in_shape, self.data.n_classes).to(self.data.dtype)

    def predict(self, arm: Arm, spec: str, batch_size: int, passes: int) -> Prediction:
        """Predict; a rule that cannot train the net is answered by a refusal.

        Raises:
            UsageError: a batch larger than the training split, or a net that cannot be built.
        """
        self.data.batches("train", batch_size)
        empty = Prediction(arm.label, spec, batch_size, passes)
        try:
            work = self._work(arm, spec, batch_size)
        except UsageError as error:
            return dataclasses.replace(empty, refusal=str(error))
        known = dataclasses.replace(
            empty,
            memory=work.memory,
            feature_cache_bytes=work.cache_bytes,
            scoring_bytes=work.scoring_bytes,
            reasons=_why_no_macs(work),
        )
        return self._with_energy(self._with_seconds(_with_macs(known, work, self._steps(batch_size)), work))

    def with_passes(self, prediction: Prediction, passes: int) -> Prediction:
        """The same prediction for another number of passes."""
        arm = Arm.parse(prediction.arm)
        return self.predict(arm, prediction.net, prediction.batch_size, passes)

    def step_bytes(self, arm: Arm, spec: str, batch_size: int) -> int | None:
        """Most bytes of a step alone; None for a net that the rule cannot train."""
        key = (arm.label, spec, batch_size)
        if key not in self._bytes:
            rule, net = arm.build({}), self.net(spec)
            try:
                state = initialise(rule, net, 0)
            except UsageError:
                return None
            self._bytes[key] = step_bytes(rule, net, state, self.data, batch_size)
        return self._bytes[key]

    def _work(self, arm: Arm, spec: str, batch_size: int) -> RuleWork:
        key = (arm.label, spec, batch_size)
        if key not in self._works:
            self.check_size(spec)
            rule, net = arm.build({}), self.net(spec)
            check_net(rule, net)
            net.check_batches(self.data.n("train"), batch_size)
            self._works[key] = work_of(rule, net, initialise(rule, net, 0), self.data, batch_size)
        return self._works[key]

    def check_size(self, spec: str) -> None:
        """Refuse a net whose parameters with their moments do not fit into the memory that is free.

        Raises:
            UsageError: with the bytes.
        """
        try:
            with torch.device("meta"):
                parameters = named(spec, self.data.in_shape, self.data.n_classes).parameters()
                least = LEAST_TIMES * sum(p.numel() * p.element_size() for p in parameters)
        except (BpfreeError, RuntimeError, NotImplementedError):  # such a net is built by computing; that says if it is too large
            return
        free = psutil.virtual_memory().available
        if least > free:
            raise UsageError(
                f"parameters and moments of {spec} take at least {format_bytes(least)}, and {format_bytes(free)} are free; "
                "choose a smaller net"
            )

    def _steps(self, batch_size: int) -> float:
        """Full steps that a pass amounts to."""
        return self.data.n("train") / batch_size

    def _with_seconds(self, known: Prediction, work: RuleWork) -> Prediction:
        try:
            steps = self._steps(known.batch_size)
            drawing_s, scored_s = self._draw_s(known.batch_size)
            scoring_s = self.clock.seconds(work.scoring.operations) + scored_s
            in_phase = [
                (passes, self.clock.seconds(each.step.operations, repeated=work.repeated), self._rest_s(each, steps), each)
                for passes, each in _passes(work.phases, known.passes)
            ]
            begin_s = sum(self.clock.seconds(each.features.operations) for passes, *_, each in in_phase if passes)
        except NotTimedError as error:
            return dataclasses.replace(known, reasons=known.reasons | dict.fromkeys(("step_s", "pass_s", "run_s"), str(error)))
        total = sum(passes for passes, *_ in in_phase)
        step_s = sum(passes * s for passes, s, *_ in in_phase) / total
        pass_s = sum(passes * (steps * s + rest) for passes, s, rest, _ in in_phase) / total + drawing_s + scoring_s
        return dataclasses.replace(known, step_s=step_s, pass_s=pass_s, run_s=total * pass_s + begin_s)

    def _with_energy(self, known: Prediction) -> Prediction:
        watts, words = self.power.of(known.arm, known.net)
        if watts is None or known.run_s is None:
            why = words if watts is None else known.reasons["run_s"]
            return dataclasses.replace(known, reasons=known.reasons | {"joules": why})
        return dataclasses.replace(known, joules=watts * known.run_s, power=words)

    def _rest_s(self, work: PhaseWork, steps: float) -> float:
        """Seconds of a pass beyond its share of full steps: Python's time for the rest of the last batch, and the closing."""
        last = math.ceil(steps) - steps
        return last * self.clock.between_s(work.step.operations) + self.clock.seconds(work.close.operations)

    def _draw_s(self, batch_size: int) -> tuple[float, float]:
        """Seconds in which the batches of a pass are drawn, and those of its validation: each timed a few times, the least."""
        if batch_size not in self._draws_s:
            training = [self._drawn_s("train", batch_size, index) for index in range(DRAWS)]
            size = min(EVALUATION_BATCH, self.data.n("train"))
            validation = [self._drawn_s("validation", size, 0) for _ in range(DRAWS)]
            self._draws_s[batch_size] = min(training), min(validation)
        return self._draws_s[batch_size]

    def _drawn_s(self, split: str, batch_size: int, index: int) -> float:
        """The first batches are timed, and stand for the others."""
        begin = now()
        batches = self.data.batches(split, batch_size, pass_index=index, shuffle=split == "train")
        next(batches)
        between = now()
        count = sum(1 for _, _ in zip(range(DRAWN), batches, strict=False))
        each_s = (now() - between) / count if count else 0.0
        return between - begin + each_s * (math.ceil(self.data.n(split) / batch_size) - 1)


def _passes(phases: Sequence[PhaseWork], passes: int) -> list[tuple[int, PhaseWork]]:
    """How many of the passes each phase has, if none ends early; at least one in all."""
    stop, used, shares = Patience(None, passes), 0, []
    for each in phases:
        cap = max(phase_cap(stop, used, each.phase), 0)
        used += cap
        shares.append((cap, each))
    return shares


def _with_macs(known: Prediction, work: RuleWork, steps: float) -> Prediction:
    shares = _passes(work.phases, known.passes)
    total = sum(passes for passes, _ in shares)

    def mean(of: Sequence[tuple[int, Work]]) -> float | None:
        values = [None if each.macs is None else passes * each.macs for passes, each in of]
        return None if any(value is None for value in values) else sum(value or 0 for value in values) / total

    step, close = mean([(n, each.step) for n, each in shares]), mean([(n, each.close) for n, each in shares])
    scoring = work.scoring.macs
    whole = None if step is None or close is None or scoring is None else steps * step + close + scoring
    return dataclasses.replace(known, step_macs=step, pass_macs=whole)


def _why_no_macs(work: RuleWork) -> dict[str, str]:
    whys = [each.why_no_macs for phase in work.phases for each in (phase.step, phase.close)] + [work.scoring.why_no_macs]
    why = next((why for why in whys if why), "")
    return {"step_macs": why, "pass_macs": why} if why else {}
