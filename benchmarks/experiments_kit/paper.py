"""What the paper says of accuracy, time and energy against backprop, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from bpfree.published import Number
from bpfree.units import MISSING
from experiments_kit.listed import MATCHED, OWN, Experiment
from experiments_kit.measured import Measured, Values, costs, number_at, two, with_interval

PROTOCOLS = {OWN: "own convergence", MATCHED: "matched passes"}

HEADINGS = ("rule", "the paper's runs", *("accuracy less backprop, points: published", "measured"),
            *("time, × backprop: published", "measured"), *("energy, × backprop: published", "measured"))  # fmt: skip


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
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|---|---" + "|---:" * (len(HEADINGS) - 2) + "|"
    timed, metered = _keys(found.table)
    for row, number in lines:
        cells = (
            row["label"],
            PROTOCOLS[number.protocol],
            MISSING if number.difference is None else f"{100 * number.difference:+.2f}",
            with_interval(row["difference_fraction"]),
            _times(number.time_ratio), _times(_mean(row, timed)), _times(number.energy_ratio), _times(_mean(row, metered)),
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"
    yield ""


def other_way(experiment: Experiment, found: Measured) -> Iterator[str]:
    """A sentence for each arm that lies on another side of backprop than a number of the paper does; none is judged."""
    by_arm: dict[str, list[tuple[Values, Number]]] = {}
    for row, number in numbers_of(experiment, found):
        by_arm.setdefault(row["arm"], []).append((row, number))
    for pairs in by_arm.values():
        said = [text for row, number in pairs for text in _other_side(found.table, row, number)]
        if said:
            row = pairs[0][0]
            n, mean = row["difference_fraction"]["n"], 100 * row["difference_fraction"]["mean"]
            said += [
                f"at {PROTOCOLS[number.protocol]} the paper's ends {_apart(100 * number.difference)} backprop too"
                for _, number in pairs
                if len(pairs) > 1 and number.difference is not None and number.difference * mean > 0
            ]
            yield (
                f"**{row['label']} lies on the other side of backprop than in the paper** ({_pairs(n)}, not judged): "
                f"{'; '.join(said)}."
            )


def _other_side(table: Values, row: Values, number: Number) -> Iterator[str]:
    """What of one number lies there: accuracy, time, energy."""
    mean, where = 100 * row["difference_fraction"]["mean"], PROTOCOLS[number.protocol]
    if number.difference is not None and number.difference * mean < 0:
        yield f"ended {_apart(mean)} backprop, the paper's {_apart(100 * number.difference)} it ({where})"
    timed, metered = _keys(table)
    for unit, key, published in ((costs(table)[0][0], timed, number.time_ratio), ("energy", metered, number.energy_ratio)):
        measured = _mean(row, key)
        if published is not None and measured is not None and (published - 1) * (measured - 1) < 0:
            yield f"took {two(measured)} of backprop's {unit}, the paper's {two(published)} ({where})"


def _keys(table: Values) -> tuple[str, str | None]:
    """Of the ratios of time and of energy; without a counter there is none of energy."""
    keys = [key for _, _, key in costs(table)]
    return keys[0], keys[1] if len(keys) > 1 else None


def _mean(row: Values, key: str | None) -> float | None:
    return None if key is None or row[key] is None else row[key]["mean"]


def _times(ratio: float | None) -> str:
    return MISSING if ratio is None else two(ratio)


def _apart(points: float) -> str:
    return f"{abs(points):.2f} points {'above' if points > 0 else 'below'}"


def _pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'}"
