"""What the paper says of accuracy, time and energy against backprop, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from bpfree.published import Number
from bpfree.units import MISSING
from experiments_kit.listed import MATCHED, OWN, Experiment
from experiments_kit.measured import Measured, Values, costs, mean_of, number_at, pairs_in_words, two, with_interval

PROTOCOLS = {OWN: "own convergence", MATCHED: "matched passes"}


def numbers_of(experiment: Experiment, found: Measured) -> Iterator[tuple[Values, Number]]:
    """Rows of the table, and each number of the paper that holds them against backprop."""
    for row in found.table["rows"]:
        places = [*([experiment.published[row["arm"]]] if row["arm"] in experiment.published else []),
                  *experiment.others.get(row["arm"], ())]  # fmt: skip
        for place in places:
            number = number_at(found.table, place)
            held = (number.difference, number.time_ratio, number.energy_ratio) != (None, None, None)
            if held and row["arm"] != found.table["baseline"] and row["difference_fraction"] is not None:
                yield row, number


def of_the_paper(experiment: Experiment, found: Measured) -> Iterator[str]:
    """Published and measured differences and ratios, line by line; nothing where the paper has none."""
    lines = list(numbers_of(experiment, found))
    if not lines:
        return
    yield "What the paper says of the same rules against backprop, and what these runs say:"
    yield ""
    ((time, _, timed), *energy) = costs(found.table)
    metered = energy[0][2] if energy else None
    headings = ("rule", "the paper's runs", *("accuracy less backprop, points: published", "measured"),
                *("time, × backprop: published", f"{time}: measured"),
                *("energy, × backprop: published", "measured"))  # fmt: skip
    yield "| " + " | ".join(headings) + " |"
    yield "|---|---" + "|---:" * (len(headings) - 2) + "|"
    for row, number in lines:
        cells = (
            row["label"],
            PROTOCOLS[number.protocol],
            MISSING if number.difference is None else f"{100 * number.difference:+.2f}",
            with_interval(row["difference_fraction"]),
            *(_times(number.time_ratio), _times(mean_of(row[timed]))),
            *(_times(number.energy_ratio), _times(metered and mean_of(row[metered]))),
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""


def other_way(experiment: Experiment, found: Measured) -> Iterator[str]:
    """A sentence for each arm whose accuracy lies on another side of backprop than the paper's does; none is judged.

    Held against what the paper found with as many passes, where it says that; else with each rule at its own end. Times and
    energies of runs that end elsewhere say nothing of each other, and only stand in the table.
    """
    by_arm: dict[str, list[tuple[Values, Number]]] = {}
    for row, number in numbers_of(experiment, found):
        by_arm.setdefault(row["arm"], []).append((row, number))
    for of_arm in by_arm.values():
        matched = [each for each in of_arm if each[1].protocol == MATCHED]
        for row, number in matched or of_arm:
            mean = 100 * row["difference_fraction"]["mean"]
            if number.difference is not None and number.difference * mean < 0:
                pairs = pairs_in_words(row["difference_fraction"]["n"])
                yield (
                    f"**{row['label']} ends on the other side of backprop than in the paper**: {_apart(mean)} it ({pairs}, not "
                    f"judged), the paper's {_apart(100 * number.difference)} it ({PROTOCOLS[number.protocol]})."
                )


def _times(ratio: float | None) -> str:
    return MISSING if ratio is None else two(ratio)


def _apart(points: float) -> str:
    return f"{abs(points):.2f} points {'above' if points > 0 else 'below'}"
