"""The short answer: every rule in one table, and what it says in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bpfree.stats.words import LEAST_PAIRS
from bpfree.units import MISSING
from experiments_kit.listed import Experiment
from experiments_kit.measured import Measured, Values, device_of, two

HEADINGS = ("experiment", "device", "rule", "pairs", "accuracy", "FLOPs", "memory", "time", "energy")


@dataclass(frozen=True)
class Line:
    """A rule on a device, held against backprop; every number is a mean over runs of the same seeds, None where not measured.

    Attributes:
        points: test accuracy less backprop's.
        flops, time, energy: of a run, in units of backprop's; time is the processor's where no counter of energy measured.
        memory: of a step, in the same way.
    """

    experiment: str
    device: str
    rule: str
    pairs: int
    verdict: str
    points: float
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
                apart["n"],
                row["verdict"],
                100 * apart["mean"],
                _mean(row["run_flops"]) / _mean(base["run_flops"]) if row["run_flops"] and base["run_flops"] else None,
                _share(row, base),
                _known(row["time_ratio" if metered else "cpu_ratio"]),
                _known(row["energy_ratio"]),
            )


def in_short(lines: Sequence[Line]) -> Iterator[str]:
    """The section's text."""
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|---|---|---|" + "---:|" * (len(HEADINGS) - 3)
    for line in lines:
        costs = (MISSING if cost is None else two(cost) for cost in (line.flops, line.memory, line.time, line.energy))
        cells = (line.experiment, line.device, line.rule, str(line.pairs), f"{line.points:+.2f}", *costs)
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield (
        "Accuracy on the test split in points less backprop's; FLOPs, time and energy of a run and the memory of a step in units "
        "of backprop's, means over pairs of the same seed. Where no counter of energy measured, time is the processor's."
    )
    yield ""
    yield f"- **Accuracy**: {_words(lines, 'lower', lambda line: line.points < 0)}"
    yield f"- **FLOPs**: {_words(lines, 'fewer', lambda line: _less(line.flops))}"
    yield f"- **Memory**: {_words(lines, 'less', lambda line: _less(line.memory))}"
    yield f"- **Time**: {_words(lines, 'less', lambda line: _less(line.time))}"
    yield f"- **Energy**: {_words(lines, 'less', lambda line: _less(line.energy))}"
    yield f"- **How sure**: {_sure(lines)}"


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
    pairs = f"{most} pair{'' if most == 1 else 's'}"
    return f"nothing here is a verdict: no line has more than {pairs}, and a verdict takes {LEAST_PAIRS}."


def _less(share: float | None) -> bool | None:
    return None if share is None else share < 1


def _known(mean: Values | None) -> float | None:
    return None if mean is None else _mean(mean)


def _mean(mean: Values) -> float:
    return mean["mean"]


def _share(row: Values, base: Values) -> float | None:
    mine, other = row["peak_memory_bytes"], base["peak_memory_bytes"]
    return mine / other if mine and other else None
