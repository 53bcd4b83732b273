"""The short answer: every rule in one table, and what it says in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from bpfree import nets
from bpfree.bench.arm import Arm
from bpfree.stats.words import LEAST_PAIRS
from bpfree.units import MISSING
from experiments_kit.listed import Experiment
from experiments_kit.measured import Measured, Values, device_of, mean_of, metered, pairs_in_words, two, with_interval

HEADINGS = (
    *("experiment", "device", "rule", "gradients", "pairs", "accuracy", "FLOPs to the target", "energy to the target"),
    *("FLOPs", "time", "energy", "memory of a step", "with validation"),
)

ANY_SHAPE = (3, 32, 32)
"""Of an example: how far gradients go depends on the number of blocks alone."""

BLOCK, GROUPS, WHOLE = "in a block", "groups of blocks", "the whole net"
"""How far gradients go: only the first is training without backpropagation."""

OF_A_BLOCK = 2
"""The longest path of gradients in a block: its head, and the block."""


@dataclass(frozen=True)
class Line:
    """A rule on a device in units of backprop's; None where it was not measured.

    Attributes:
        gradients: how far they go.
        points, interval: test accuracy less backprop's, the mean over pairs of the same seed, and as text with its interval.
        flops, time, energy: of a run; time is the processor's where no counter of energy measured.
        memory, whole_memory: of a training step, and the larger of that and of validation.
        flops_to_target, energy_to_target: until validation reached the experiment's target, infinite where it never did.
    """

    experiment: str
    device: str
    rule: str
    gradients: str
    pairs: int
    verdict: str
    points: float
    interval: str
    flops: float | None
    time: float | None
    energy: float | None
    memory: float | None
    whole_memory: float | None
    flops_to_target: float | None
    energy_to_target: float | None

    @property
    def name(self) -> str:
        """For sentences: the rule, the experiment and the device."""
        return f"{self.rule} ({self.experiment}, {self.device})"


def lines_of(experiment: Experiment, found: Measured, *, control: bool = False) -> Iterator[Line]:
    """Of all arms but the baseline that have a run of the same seed as backprop: frozen blocks, or the others."""
    rows = {row["arm"]: row for row in found.table["rows"]}
    reached = {each["arm"]: each for each in found.table["target"]["arms"]}
    base = rows.pop(found.table["baseline"])
    for arm, row in rows.items():
        apart = row["difference_fraction"]
        if apart is None or (row["algorithm"] == "frozen") is not control:
            continue
        yield Line(
            str(experiment.number),
            device_of(found.directory),
            row["label"],
            gradients_of(arm, found.table["net"]),
            apart["n"],
            row["verdict"],
            100 * apart["mean"],
            with_interval(apart),
            _share(mean_of(row["run_flops"]), mean_of(base["run_flops"])),
            mean_of(row["time_ratio" if metered(found.table) else "cpu_ratio"]),
            mean_of(row["energy_ratio"]),
            _share(row["peak_memory_bytes"], base["peak_memory_bytes"]),
            _share(_whole(row), _whole(base)),
            _to_target(reached[arm], reached[base["arm"]], "median_flops"),
            _to_target(reached[arm], reached[base["arm"]], "median_energy_j"),
        )


def _whole(row: Values) -> int | None:
    """Bytes of a step or of validation, whichever are more."""
    step, validation = row["peak_memory_bytes"], row["evaluation_peak_bytes"]
    return max(step, validation) if step and validation else None


def _to_target(mine: Values, base: Values, key: str) -> float | None:
    if base[key] is None:
        return None
    if mine["median_passes_count"] is None:
        return math.inf
    return _share(mine[key], base[key])


def gradients_of(arm: str, net: str) -> str:
    """How far the gradients of a rule go in a net."""
    with torch.device("meta"):
        built = nets.build(net, ANY_SHAPE, 10)
        traits = Arm.parse(arm).build({}).traits(built)
    if traits.gradient_path <= OF_A_BLOCK:
        return BLOCK
    return WHOLE if traits.gradient_path > len(built) else GROUPS


def in_short(lines: Sequence[Line], controls: Sequence[Line] = ()) -> Iterator[str]:
    """The section's text: what it says of the rules without backpropagation, then the table of all."""
    local = [line for line in lines if line.gradients == BLOCK]
    yield (
        "**Does it save, and at what accuracy?** Of the rules whose gradients stay in a block, against backprop on the same net, "
        "on the same device and with the same cap on passes:"
    )
    yield ""
    yield f"- **Accuracy**: {_words(local, 'lower', lambda line: line.points < 0)}"
    yield f"- **To the same validation accuracy**, FLOPs: {_words(local, 'fewer', lambda line: _less(line.flops_to_target))}"
    yield f"- **To the same validation accuracy**, energy: {_words(local, 'less', lambda line: _less(line.energy_to_target))}"
    for place in dict.fromkeys((line.experiment, line.device) for line in local):
        yield f"- {_nearest([line for line in local if (line.experiment, line.device) == place])}"
    yield f"- **FLOPs of a run**: {_words(local, 'fewer', lambda line: _less(line.flops))}"
    yield f"- **Time of a run**: {_words(local, 'less', lambda line: _less(line.time))}"
    yield f"- **Energy of a run**: {_words(local, 'less', lambda line: _less(line.energy))}"
    yield f"- **Memory of a step**: {_words(local, 'less', lambda line: _less(line.memory))}"
    yield f"- **Memory of a step or of validation**: {_words(local, 'less', lambda line: _less(line.whole_memory))}"
    if controls:
        yield f"- **Without any training of blocks** (`frozen`): {'; '.join(map(_control, controls))}."
    yield f"- **How sure**: {_sure(lines)}"
    yield ""
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|---|---|---|---|" + "---:|" * (len(HEADINGS) - 4)
    for line in lines:
        costs = (line.flops_to_target, line.energy_to_target, line.flops, line.time, line.energy, line.memory, line.whole_memory)
        cells = (line.experiment, line.device, line.rule, line.gradients, str(line.pairs), line.interval, *map(_times, costs))
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield (
        "A pair is two runs of one seed, one of them backprop's. Accuracy: on the test split, in points less backprop's, "
        "with its 95 % interval over pairs. All else in units of backprop's. A multiply-add is two FLOPs. FLOPs are those "
        "of training; time and energy are of training and of the validation after each pass, which takes Forward-Forward "
        "longest. Without an energy counter, time is the processor's. The target is the validation accuracy that each "
        "experiment names below; medians over runs."
    )


def _times(cost: float | None) -> str:
    if cost is None:
        return MISSING
    return "never" if math.isinf(cost) else two(cost)


def _nearest(lines: Sequence[Line]) -> str:
    """Of one experiment on one device: the rule that ended nearest to backprop or above it, and at what cost."""
    best = max(lines, key=lambda line: line.points)
    ended = "below backprop" if best.points < 0 else "above backprop" if best.points > 0 else "level with backprop"
    apart = "" if best.points == 0 else f"{abs(best.points):.2f} points "
    return (
        f"**Experiment {best.experiment}, {best.device}**: the most accurate of {len(lines)}, {best.rule}, ended {apart}{ended} "
        f"({pairs_in_words(best.pairs)}) at {_costs(best)}."
    )


def _control(line: Line) -> str:
    side = "below" if line.points < 0 else "above"
    return f"{abs(line.points):.2f} points {side} at {_costs(line)} ({line.experiment}, {line.device})"


def _costs(line: Line) -> str:
    costs = ((line.flops, "FLOPs"), (line.time, "time"), (line.energy, "energy"), (line.memory, "memory in a step"))
    return ", ".join(f"{two(cost)} of its {word}" for cost, word in costs if cost is not None)


def _words(lines: Sequence[Line], word: str, holds: Callable[[Line], bool | None]) -> str:
    """``lower in 3 of 4 lines, all but a.``"""
    known = {line: held for line in lines if (held := holds(line)) is not None}
    others = [line.name for line, held in known.items() if not held]
    if not known:
        return "not measured."
    if len(others) in (0, len(known)):
        return f"{word} in {'none' if others else 'all'} of {len(known)} lines."
    if len(others) > len(known) / 2:
        only = [line.name for line, held in known.items() if held]
        return f"{word} in {len(only)} of {len(known)} lines: {', '.join(only)}."
    return f"{word} in {len(known) - len(others)} of {len(known)} lines, all but {', '.join(others)}."


def _sure(lines: Sequence[Line]) -> str:
    judged = [f"{line.name} {line.verdict}" for line in lines if not line.verdict.startswith(("not judged", "unreliable"))]
    if judged:
        return f"{'; '.join(judged)}. The other lines are not judged."
    most = max((line.pairs for line in lines), default=0)
    few = f": no line has more than {pairs_in_words(most)}, and a verdict takes {LEAST_PAIRS}" if most < LEAST_PAIRS else ""
    return f"nothing here is a verdict{few}."


def _less(share: float | None) -> bool | None:
    return None if share is None else share < 1


def _share(mine: float | None, base: float | None) -> float | None:
    return mine / base if mine and base else None
