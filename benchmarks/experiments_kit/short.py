"""The short answer: every rule in one table, and what it says in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from bpfree import nets
from bpfree.bench.arm import Arm
from bpfree.stats.words import LEAST_PAIRS
from bpfree.units import MISSING
from experiments_kit.listed import Experiment
from experiments_kit.measured import Measured, Values, device_of, two, with_interval

HEADINGS = ("experiment", "device", "rule", "gradients", "pairs", "accuracy", "FLOPs", "memory", "time", "energy")

ANY_SHAPE = (3, 32, 32)
"""Of an example: how far gradients go depends on the number of blocks alone."""

BLOCK, GROUPS, WHOLE = "in a block", "groups of blocks", "the whole net"
"""How far gradients go: only the first is training without backpropagation."""

OF_A_BLOCK = 2
"""The longest path of gradients in a block: its head, and the block."""


@dataclass(frozen=True)
class Line:
    """A rule on a device, held against backprop; every number is a mean over runs of the same seeds, None where not measured.

    Attributes:
        gradients: how far they go.
        points, interval: test accuracy less backprop's, and the same as text with its interval.
        flops, time, energy: of a run, in units of backprop's; time is the processor's where no counter of energy measured.
        memory: of a step, in the same way.
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
    memory: float | None
    time: float | None
    energy: float | None

    @property
    def name(self) -> str:
        """For sentences: the rule, the experiment and the device."""
        return f"{self.rule} ({self.experiment}, {self.device})"


def lines_of(experiment: Experiment, found: Measured) -> Iterator[Line]:
    """Of all arms but the baseline and frozen blocks that have a run of the same seed as backprop."""
    rows = {row["arm"]: row for row in found.table["rows"]}
    base = rows.pop(found.table["baseline"])
    metered = any(row["energy_j"] for row in found.table["rows"])
    for row in rows.values():
        apart = row["difference_fraction"]
        if apart is not None and row["algorithm"] != "frozen":
            yield Line(
                str(experiment.number),
                device_of(found.directory),
                row["label"],
                gradients_of(row["arm"], found.table["net"]),
                apart["n"],
                row["verdict"],
                100 * apart["mean"],
                with_interval(apart),
                _mean(row["run_flops"]) / _mean(base["run_flops"]) if row["run_flops"] and base["run_flops"] else None,
                _share(row, base),
                _known(row["time_ratio" if metered else "cpu_ratio"]),
                _known(row["energy_ratio"]),
            )


def gradients_of(arm: str, net: str) -> str:
    """How far the gradients of a rule go in a net."""
    with torch.device("meta"):
        built = nets.build(net, ANY_SHAPE, 10)
        traits = Arm.parse(arm).build({}).traits(built)
    if traits.gradient_path <= OF_A_BLOCK:
        return BLOCK
    return WHOLE if traits.gradient_path > len(built) else GROUPS


def in_short(lines: Sequence[Line]) -> Iterator[str]:
    """The section's text: what it says of the rules without backpropagation, then the table of all."""
    local = [line for line in lines if line.gradients == BLOCK]
    yield (
        "**Does it save, and at what accuracy?** Of the rules whose gradients stay within a block, against backprop on the "
        "same net and device:"
    )
    yield ""
    for place in dict.fromkeys((line.experiment, line.device) for line in local):
        yield f"- {_nearest([line for line in local if (line.experiment, line.device) == place])}"
    yield f"- **Accuracy**: {_words(local, 'lower', lambda line: line.points < 0)}"
    yield f"- **FLOPs**: {_words(local, 'fewer', lambda line: _less(line.flops))}"
    yield f"- **Memory**: {_words(local, 'less', lambda line: _less(line.memory))}"
    yield f"- **Time**: {_words(local, 'less', lambda line: _less(line.time))}"
    yield f"- **Energy**: {_words(local, 'less', lambda line: _less(line.energy))}"
    yield f"- **How sure**: {_sure(lines)}"
    yield ""
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|---|---|---|---|" + "---:|" * (len(HEADINGS) - 4)
    for line in lines:
        costs = (MISSING if cost is None else two(cost) for cost in (line.flops, line.memory, line.time, line.energy))
        cells = (line.experiment, line.device, line.rule, line.gradients, str(line.pairs), line.interval, *costs)
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield (
        "Accuracy on the test split in points less backprop's, with its 95 % interval over seeds; FLOPs, time and energy of a "
        "run and the memory of a step in units of backprop's, means over pairs of the same seed. A multiply-add is two FLOPs. "
        "FLOPs are those of training; time and energy are of training and of the validation after each pass. Where no counter of "
        "energy measured, time is the processor's."
    )


def _nearest(lines: Sequence[Line]) -> str:
    """Of one experiment on one device: the rule that came nearest to backprop, or passed it, and at what cost."""
    best = max(lines, key=lambda line: line.points)
    ended = "below backprop" if best.points < 0 else "above backprop" if best.points > 0 else "level with backprop"
    costs = ((best.flops, "FLOPs"), (best.memory, "memory"), (best.time, "time"), (best.energy, "energy"))
    at = ", ".join(f"{two(cost)} of its {word}" for cost, word in costs if cost is not None)
    apart = "" if best.points == 0 else f"{abs(best.points):.2f} points "
    return (
        f"**Experiment {best.experiment}, {best.device}**: the most accurate of {len(lines)}, {best.rule}, ended {apart}{ended} "
        f"({_pairs(best.pairs)}) at {at}."
    )


def _words(lines: Sequence[Line], word: str, holds: Callable[[Line], bool | None]) -> str:
    """``lower in 3 of 4 lines, all but a.``"""
    known = {line: held for line in lines if (held := holds(line)) is not None}
    others = [line.name for line, held in known.items() if not held]
    if not known:
        return "not measured."
    if len(others) in (0, len(known)):
        return f"{word} in {'none' if others else 'all'} of {len(known)} lines."
    return f"{word} in {len(known) - len(others)} of {len(known)} lines, all but {', '.join(others)}."


def _sure(lines: Sequence[Line]) -> str:
    judged = [f"{line.name} {line.verdict}" for line in lines if not line.verdict.startswith(("not judged", "unreliable"))]
    if judged:
        return f"{'; '.join(judged)}. The other lines are not judged."
    most = max(line.pairs for line in lines)
    return f"nothing here is a verdict: no line has more than {_pairs(most)}, and a verdict takes {LEAST_PAIRS}."


def _pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'}"


def _less(share: float | None) -> bool | None:
    return None if share is None else share < 1


def _known(mean: Values | None) -> float | None:
    return None if mean is None else _mean(mean)


def _mean(mean: Values) -> float:
    return mean["mean"]


def _share(row: Values, base: Values) -> float | None:
    mine, other = row["peak_memory_bytes"], base["peak_memory_bytes"]
    return mine / other if mine and other else None
