"""The report in sentences: the answer, what must be known before quoting it, and what it holds for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bpfree.report.audit import audit, copied
from bpfree.report.material import Material
from bpfree.report.model import Row, Table
from bpfree.units import MISSING

__all__ = ["Answer", "answer", "conditions", "flags", "next_commands"]


@dataclass(frozen=True)
class Answer:
    """One sentence, and the rest in a second."""

    text: str
    more: str = ""


def answer(table: Table, material: Material) -> Answer:
    """The best arm against the baseline in one sentence, the other arms in the next."""
    baseline, *others = table.rows
    rules = _rules(material)
    where = f"on {table.dataset} with {table.net}"
    finished = [row for row in others if row.accuracy is not None]
    if baseline.accuracy is None:
        said = "; ".join(f"{row.label} {_percent(row)}" for row in finished)
        return Answer(f"{rules} {where}, no run of {baseline.label} finished, so nothing can be compared with it.", said)
    if not finished:
        lost = "" if not others else f"; of the other arm{'s' if len(others) > 1 else ''}, no run finished"
        return Answer(f"{rules} {where}, {baseline.label} reached {_percent(baseline)} test accuracy{lost}.")
    best = max(finished, key=lambda row: (row.n_bad == 0, row.accuracy.mean if row.accuracy else 0.0))
    digits = _digits(best)
    text = (
        f"{rules} {where}, {best.label} reached {_percent(best, digits)} test accuracy against "
        f"{baseline.label}’s {_percent(baseline, digits)} ({_difference(best, digits)}){_costs(best)}."
    )
    rest = [f"{row.label} {_percent(row, digits)}{_verdict(row)}" for row in others if row is not best]
    return Answer(text, f"The other arms: {'; '.join(rest)}." if rest else "")


def _rules(material: Material) -> str:
    if not material.ruleset.comparable:
        return "Under unequal rules, which support no comparison,"
    return "At rules with exceptions" if material.ruleset.exceptions else "At equal rules"


def _percent(row: Row, digits: int = 1) -> str:
    return MISSING if row.accuracy is None else f"{100 * row.accuracy.mean:.{digits}f} %"


def _digits(row: Row) -> int:
    """One digit of a per cent is enough, unless the interval of the difference is finer than that."""
    d = row.difference
    return 2 if d and d.low is not None and d.high is not None and d.high - d.low < 0.002 else 1


def _difference(row: Row, digits: int) -> str:
    if row.difference is None:
        return row.verdict or "no difference can be given"
    return f"difference {row.difference_text(digits)} points: {row.verdict}"


def _verdict(row: Row) -> str:
    if row.accuracy is None:
        return ", no run finished"
    return f" ({row.verdict})" if row.verdict else ""


def _costs(row: Row) -> str:
    ratios = ((row.time_ratio, "time"), (row.energy_ratio, "energy"))
    parts = [_times(ratio.mean, what) for ratio, what in ratios if ratio is not None]
    return f", at {' and '.join(parts)}" if parts else ""


def _times(ratio: float, what: str) -> str:
    if abs(ratio - 1) < 0.05:
        return f"about the same {what}"
    return f"{ratio:.0f} times the {what}" if ratio >= 9.95 else f"{ratio:.2g} times the {what}"


def flags(tables: Sequence[Table], material: Material) -> list[str]:
    """What makes a comparison less than it looks, most serious first; empty when nothing does."""
    found = []
    for table in tables:
        where = f"{table.dataset}, {table.net}: " if len(tables) > 1 else ""
        for flag in (*audit(table, material), *_unequal(table, material), *_lost(table), *_measured(table)):
            found.append(where + flag if where else flag[0].upper() + flag[1:])
    return [*copied(tables, material), *found]


def _unequal(table: Table, material: Material) -> Iterator[str]:
    if table.rows[0].runs[0].algorithm != "backprop":
        yield f"there is no backprop arm; differences are to {table.baseline_label}."
    searches = {row.label: {(cost.trials, cost.passes) for run in row.runs if (cost := run.tuning_energy)} for row in table.rows}
    budgets = {label: max(trials for trials, _passes in found) for label, found in searches.items() if found}
    if len(set(budgets.values())) > 1:
        said = ", ".join(f"{label} {trials}" for label, trials in budgets.items())
        yield f"UNEQUAL SEARCH: the arms had different numbers of trials ({said})."
    for key, what in (("passes_per_trial", "passes"), ("examples_per_trial", "training examples")):
        given = {row.label: {entry.get(key) for entry in material.tuned if _is_of(entry, table, row)} for row in table.rows}
        sizes = {label: found.pop() for label, found in given.items() if len(found) == 1}
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{label} {size}" for label, size in sizes.items())
            yield f"UNEQUAL SEARCH: a trial had different numbers of {what} ({said})."
    for row in table.rows:
        one_search = [run for run in row.runs if run.study is None]  # every study has values of its own
        if any(run.params != one_search[0].params for run in one_search):
            yield f"the runs of {row.label} have different hyper-parameters."
    seeds = {row.label: row.seeds for row in table.rows}
    pairs = [[run.replicate for run in row.runs] for row in table.rows]
    if any(sorted(found) != sorted(pairs[0]) for found in pairs):
        said = "; ".join(f"{label} {_span(found)}" for label, found in seeds.items())
        yield f"the arms have different seeds ({said}); a difference uses the seeds that both arms have."
    tiers = {run.tier for run in table.runs}
    if len(tiers) > 1:
        said = ", ".join(sorted(tiers))
        yield f"the arms were executed in different ways ({said}); times and energies differ by that too."
    if len({run.environment_digest for run in table.runs}) > 1:
        yield "the runs come from different machines or versions: times and energies cannot be compared."


def _is_of(entry: object, table: Table, row: Row) -> bool:
    return isinstance(entry, dict) and (entry.get("arm"), entry.get("dataset"), entry.get("net")) == (
        row.arm,
        table.dataset,
        table.net,
    )


def _lost(table: Table) -> Iterator[str]:
    for row in table.rows:
        for status, count in row.statuses.items():
            said = f"{count} of {len(row.runs)} runs of {row.label}"
            causes = dict.fromkeys(run.reasons.get("status", "") for run in row.runs if run.status == status)
            why = "; ".join(list(filter(None, causes))[:2])
            if status == "interrupted":
                yield f"{said} interrupted; the same command again measures them afresh."
            elif status != "ok":
                yield f"{said} {status}{f' ({why})' if why else ''}, which counts against this arm."
    planned = {pair for run in table.runs for pair in _planned(run.plan)}
    missing = planned - {(run.arm, run.seed) for run in table.runs}
    if missing:
        again = "the same command again goes on with them"
        yield f"{len(missing)} of {len(planned)} planned runs are missing; {again}."


def _planned(plan: Mapping[str, object]) -> Iterator[tuple[object, object]]:
    """Arms and seeds that the command of a run was to measure; a later command may have added some."""
    arms, seeds = plan.get("arms"), plan.get("seeds")
    if isinstance(arms, list) and isinstance(seeds, list):
        yield from itertools.product(arms, seeds)


def _measured(table: Table) -> Iterator[str]:
    with_energy = [run.energy for run in table.runs if run.energy.joules is not None]
    if any(not energy.measured for energy in with_energy):
        yield "the energies are estimates from processor load and rated power, not measurements."
    unresolved = sum(not energy.resolved for energy in with_energy)
    if unresolved:
        yield f"in {unresolved} of {len(with_energy)} runs the window was too short for the energy counter."


def conditions(tables: Sequence[Table]) -> list[str]:
    """What the numbers are conditional on."""
    n_seeds = max(len(row.runs) for table in tables for row in table.rows)
    said = [
        "Intervals are 95 % t intervals over seeds, which set the initial weights and the order of batches; "
        "differences are paired by seed. They are conditional on one search and one split: another search "
        "or another split of the data could move an arm by more than its interval.",
        "Time and energy are those of one window from the first pass to the last, validation included; the "
        "search for hyper-parameters is listed apart. Ratios are to the baseline, paired by seed.",
    ]
    if n_seeds == 1:
        said.insert(
            0,
            "Each arm was run with one seed, so there are no intervals: one run says nothing about the next.",
        )
    if any(table.dataset == "digits" for table in tables):
        said.append(
            "digits is very small: 1,797 images of 8×8 pixels, about 360 of them for testing, so that one "
            "image is 0.28 points. It shows that everything works; to tell good rules apart, go on to the "
            "next size:"
        )
    return said


def next_commands(tables: Sequence[Table]) -> list[str]:
    """The command for the next size, where the data set was the smallest."""
    if any(table.dataset == "digits" for table in tables):
        return ["bpfree compare --dataset fashion-mnist --net mlp:2x1000 --data-dir DIR"]
    return []


def _span(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)
