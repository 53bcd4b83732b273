"""What a training step of every rule costs on a net: bytes by use and multiply-adds, counted, and beside that by formula.

Nothing is trained and no clock is read: a step is counted on a twin, so the numbers are the same on every machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bpfree.algorithms import Algorithm, Backprop, Cost, Phase, check_net, cost_of, registry
from bpfree.bench.arm import Arm
from bpfree.bench.cost import n_parameters, step_cost
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.nets import Chain, named
from bpfree.train import initialise

__all__ = ["ByFormula", "CostRow", "MemoryBytes", "cost_rows", "main_arms", "ratios", "step_macs"]

UNKNOWN = "no formula is known for this rule on this net"


@dataclass(frozen=True)
class MemoryBytes:
    """Bytes at the highest moment of a step; the first four by use, ``activations`` is all the rest that a step makes."""

    weights: int
    auxiliary: int
    optimiser: int
    gradients: int
    activations: int

    @property
    def peak(self) -> int:
        """All together."""
        return self.weights + self.auxiliary + self.optimiser + self.gradients + self.activations


@dataclass(frozen=True)
class ByFormula:
    """The same by formula; ``None`` where none is known."""

    step: int | None
    evaluation: int | None
    orthogonalisation: int | None
    end_of_pass: int | None
    gradients_bytes: int | None
    activations_bytes: int | None


@dataclass(frozen=True)
class CostRow:
    """One arm on one net.

    Attributes:
        step: multiply-adds of a training step, all passes of the rule, for several phases their mean; orthogonalisation and what
            closes a pass apart.
        by_phase: the same of each phase.
        evaluation: multiply-adds of scoring one batch.
        orthogonalisation: multiply-adds of one, and ``orthogonalisation_per_step`` its share of a step.
        whole_step: ``step`` with that share.
        end_of_pass: multiply-adds of what closes a pass (a ridge solution).
        refusal: why the rule cannot train this net; then everything else is ``None``.
        reasons: why a quantity is ``None``, by its name.
    """

    arm: str
    net: str
    batch_size: int
    n_parameters: int | None = None
    memory: MemoryBytes | None = None
    step: int | None = None
    by_phase: tuple[int, ...] = ()
    evaluation: int | None = None
    orthogonalisation: int | None = None
    orthogonalisation_per_step: float | None = None
    whole_step: float | None = None
    end_of_pass: int | None = None
    by_formula: ByFormula | None = None
    refusal: str | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return dataclasses.asdict(self)


def main_arms() -> tuple[str, ...]:
    """Every registered rule, the baseline first, each followed by its variants that cost something else."""
    rules = sorted(registry().items(), key=lambda item: (item[0] != Backprop.name, item[0]))
    return tuple(text for name, rule in rules for text in (name, *(f"{name}:{variant}" for variant in rule.variants)))


def cost_rows(
    arms: Sequence[Arm], nets: Sequence[str], data: Dataset, batch_size: int, on_row: Callable[[CostRow], None] = lambda _: None
) -> list[CostRow]:
    """Count every arm on every net.

    Args:
        nets: specifications, such as ``"mlp:3x256"``.
        data: only shapes and one batch of it are used.
        on_row: called after each row.

    Raises:
        UsageError: a net that cannot be built, or a batch larger than the training split.
    """
    rows = []
    for spec, arm in ((spec, arm) for spec in nets for arm in arms):
        rows.append(_row(arm, spec, data, batch_size))
        on_row(rows[-1])
    return rows


def _row(arm: Arm, spec: str, data: Dataset, batch_size: int) -> CostRow:
    rule, net = arm.build({}), named(spec, data.in_shape, data.n_classes)
    try:
        check_net(rule, net)
    except UsageError as error:
        return CostRow(arm.label, spec, batch_size, refusal=str(error))
    state = initialise(rule, net, 0, data.device)
    cost = step_cost(rule, net, state, data.without_test(), batch_size)
    flops, memory = cost.flops, cost.memory
    every = None if cost.apart is None else cost.apart.every
    by_formula = _by_formula(rule, net, batch_size, cost.phases)
    reasons = {name.removeprefix("flops."): why for name, why in cost.reasons.items()}
    if every is None:
        reasons["orthogonalisation_per_step"] = reasons["orthogonalisation"]
    if cost.end_of_pass is None:
        reasons["end_of_pass"] = "nothing that multiplies matrices closes a pass"
    reasons |= {f"by_formula.{name}": UNKNOWN for name, value in dataclasses.asdict(by_formula).items() if value is None}
    step, orthogonalisation = _macs(flops.train_step), _macs(flops.orthogonalisation)
    share = None if orthogonalisation is None or every is None else orthogonalisation / every
    return CostRow(
        arm.label,
        spec,
        batch_size,
        n_parameters(rule, net),
        MemoryBytes(
            memory.weights or 0, memory.auxiliary or 0, memory.optimiser or 0, memory.gradients or 0, memory.activations or 0
        ),
        step=step,
        by_phase=tuple(count // 2 for count in cost.by_phase),
        evaluation=_macs(flops.evaluation),
        orthogonalisation=orthogonalisation,
        orthogonalisation_per_step=share,
        whole_step=None if step is None else step + (share or 0.0),
        end_of_pass=_macs(cost.end_of_pass),
        by_formula=by_formula,
        reasons=reasons,
    )


def _macs(flops: int | None) -> int | None:
    """Two operations are one multiply-add."""
    return None if flops is None else round(flops / 2)


def _by_formula(rule: Algorithm, net: Chain, n: int, phases: Sequence[Phase]) -> ByFormula:
    """Steps are those of ``phases``, which may read cached features; scoring is that of examples."""
    costs = [cost_of(rule, net, n, phase) for phase in phases]
    steps = [step_macs(rule, cost) for cost in costs]
    known = [macs for macs in steps if macs is not None]
    last = cost_of(rule, net, n, rule.phases(net)[-1])
    closing = sum(cost.close or 0 for cost in costs if cost is not None)
    apart = [work.name for work in rule.upkeep() if work.apart]
    orthogonalisation = [last.upkeep[name] for name in apart if name in last.upkeep] if last is not None else []
    moments = [cost.peak for phase, cost in zip(phases, costs, strict=True) if phase.learning and cost and cost.peak is not None]
    highest = max(moments, key=sum, default=None)
    size = net.dtype.itemsize
    return ByFormula(
        step=round(sum(known) / len(known)) if len(known) == len(steps) else None,
        evaluation=None if last is None or last.evaluation is None else round(last.evaluation),
        orthogonalisation=round(sum(orthogonalisation)) if apart and len(orthogonalisation) == len(apart) else None,
        end_of_pass=round(closing) or None,
        gradients_bytes=None if highest is None else highest[0] * size,
        activations_bytes=None if highest is None else highest[1] * size,
    )


def step_macs(rule: Algorithm, cost: Cost | None) -> int | None:
    """Multiply-adds of a training step in the long run by the rule's formula: ``learn`` and the shares of periodic work."""
    if cost is None or cost.learn is None:
        return None
    total = float(cost.learn)
    for work in rule.upkeep():
        if work.every is not None and not work.apart:
            if work.name not in cost.upkeep:
                return None
            total += cost.upkeep[work.name] / work.every
    return round(total)


def ratios(rows: Sequence[CostRow], quantity: Callable[[CostRow], float | None]) -> Iterator[float | None]:
    """Each row's ``quantity`` over that of plain backprop on the same net; ``None`` where one of them is not known."""
    base = {row.net: quantity(row) for row in rows if row.arm == Backprop.name}
    for row in rows:
        mine, theirs = quantity(row), base.get(row.net)
        yield mine / theirs if mine is not None and theirs else None
