"""Whether the records kept the rules: each mistake of the published comparisons, looked for in what was measured.

The headline of this field came from another patience for one arm, fewer trials for another, tuned values copied between cells,
and one seed counted three times. The harness refuses them; this finds them in records that came another way, and names them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bpfree.records import Record
from bpfree.report.material import Material
from bpfree.report.model import Row, Table
from bpfree.report.stopping import state_flaw, stopping_flaw
from bpfree.rulesets import exception_in_words

__all__ = ["audit", "copied"]

_KINDS = {"stop": "STOPPING", "budget": "BUDGET", "search": "SEARCH", "lr_schedule": "SCHEDULE", "batch_size": "BATCHES"}
_SEARCHED = frozenset({"lr", "weight_decay"})
"""What a search looks for where nothing says what it looked for."""


def audit(table: Table, material: Material) -> Iterator[str]:
    """What is unequal or not as the ruleset says, in one table, each with the name of the mistake."""
    yield from _exceptions(table, material)
    for row in table.rows:
        yield from _runs(row, table, material)
        yield from _search(row, table, material)
        yield from _same_seed(row)
    yield from _untuned(table)
    splits = {run.split for run in table.runs}
    if len(splits) > 1:
        yield f"DIFFERENT SPLITS: the runs used {len(splits)} splits of the data, so they were not tested on the same examples."


def _exceptions(table: Table, material: Material) -> Iterator[str]:
    rules = material.ruleset
    for k, exception in enumerate(rules.exceptions):
        phases = exception.phases or (None,)
        covered = [r for r in table.rows if any(exception.applies(r.arm, table.dataset, table.net, phase) for phase in phases)]
        if covered and len(covered) < len(table.rows):
            kind = _KINDS.get(exception.field.partition(".")[0], "RULES")
            yield f"UNEQUAL {kind}: {exception_in_words(rules, k)}"


def _runs(row: Row, table: Table, material: Material) -> Iterator[str]:
    """What the histories say of stopping and of the state that was kept."""
    for name, check in (("UNEQUAL STOPPING", stopping_flaw), ("STATE NOT CHOSEN ON VALIDATION", state_flaw)):
        ended = [run for run in row.runs if run.status == "ok" and run.history]
        flaws = [flaw for run in ended if (flaw := check(run, material.ruleset))]
        if flaws:
            yield f"{name}: in {len(flaws)} of {len(ended)} runs of {row.label}, {flaws[0]}."
    if material.ruleset.readout == "best-prefix-on-validation" and row.runs[0].params.get("readout") != "best-prefix":
        yield f"{row.label} has one readout only, so validation had nothing to choose among."


def _search(row: Row, table: Table, material: Material) -> Iterator[str]:
    rules = material.ruleset.for_arm(row.arm, table.dataset, table.net)
    trials = {run.tuning_energy.trials for run in row.runs if run.tuning_energy}
    if trials and trials != {rules.search.trials}:
        had = " or ".join(map(str, sorted(trials)))
        yield f"UNEQUAL SEARCH: {row.label} was tuned with {had} trials, the ruleset says {rules.search.trials}."
    for study in dict.fromkeys(run.study for run in row.runs):
        yield from _not_found(row, table, material, study)


def _not_found(row: Row, table: Table, material: Material, study: int | None) -> Iterator[str]:
    """Runs with values that the search of their arm, or of their study, did not find."""
    best = _tuned(material, row, table, study).get("best") or {}
    for name, value in best.items():
        used = {run.params[name] for run in row.runs if name in run.params and run.study == study}
        if used and used != {value}:
            said = ", ".join(f"{each:.6g}" if isinstance(each, float) else str(each) for each in sorted(used, key=str))
            yield (
                f"COPIED HYPER-PARAMETERS: the runs of {row.label} used {name} = {said}, but its own search found "
                f"{value:.6g}; the values are not its own."
            )


def _untuned(table: Table) -> Iterator[str]:
    by_hand = [row.label for row in table.rows if all(run.tuning_energy is None for run in row.runs)]
    if by_hand and len(by_hand) < len(table.rows):
        yield f"UNEQUAL SEARCH: {', '.join(by_hand)} was not tuned; its values were given by hand, those of the others searched."
    elif by_hand:
        yield "nothing was tuned: the hyper-parameters were given by hand."


def _same_seed(row: Row) -> Iterator[str]:
    """Runs that learned the same, pass by pass, are one run: a loss has too many digits to repeat itself."""
    by_losses: dict[tuple[float | None, ...], list[int]] = defaultdict(list)
    for run in row.runs:
        losses = tuple(entry.train_loss for entry in run.history)
        if any(losses):
            by_losses[losses].append(run.seed)
    for seeds in by_losses.values():
        if len(seeds) > 1:
            said = ", ".join(map(str, seeds))
            yield (
                f"SAME SEED: the runs of {row.label} with seeds {said} have the same training loss in every pass: "
                f"one run was counted {len(seeds)} times."
            )


def copied(tables: Sequence[Table], material: Material) -> Iterator[str]:
    """Tuned values that two cells (arm, data set, net) share: two searches do not find the same digits.

    Where all arms try the points of one sequence, they may well.
    """
    if material.ruleset.search.sampler.name == "qmc":
        return
    places: dict[tuple[str, float], list[tuple[str, Record]]] = defaultdict(list)
    many = len(tables) > 1
    for table in tables:
        for row in table.rows:
            run = row.runs[0]
            for name in sorted(_searched(row, table, material)):
                value = run.params.get(name)
                if isinstance(value, float) and value != 0:
                    where = f"{row.label} on {table.dataset} with {table.net}" if many else row.label
                    places[name, value].append((where, run))
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for (name, value), cells in places.items():
        if len(cells) > 1 and any(run.tuning_energy is not None for _where, run in cells):
            found[tuple(where for where, _run in cells)].append(f"{name} = {value:.6g}")
    for cells, values in found.items():
        yield (
            f"COPIED HYPER-PARAMETERS: {' and '.join(cells)} have the same {', '.join(values)}; two searches do not find the "
            "same digits, so one cell has the values of another."
        )


def _searched(row: Row, table: Table, material: Material) -> set[str]:
    """Names of what was searched for an arm, less what the arm fixes."""
    own = _tuned(material, row, table, row.runs[0].study).get("best")
    elsewhere = {name for entry in material.tuned for name in entry.get("best") or {}}
    fixed = {part.partition("=")[0] for part in row.runs[0].variant.split(":")}
    return set(own or elsewhere or _SEARCHED) - fixed


def _tuned(material: Material, row: Row, table: Table, study: int | None = None) -> Mapping[str, Any]:
    wanted = (row.arm, table.dataset, table.net, study)
    of = ("arm", "dataset", "net", "study")
    return next((e for e in material.tuned if tuple(e.get(key) for key in of) == wanted), {})
