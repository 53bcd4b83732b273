"""Checks that the records kept the rules, for each mistake of the published comparisons.

Results of this field have come from another patience for one arm, fewer trials for another, tuned values copied from one task
to another, and one seed counted three times. The harness refuses them; these checks find them in records made another way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpfree.records import Record
from bpfree.report.material import Material
from bpfree.report.model import ArmRow, Table
from bpfree.report.stopping import state_flaw, stopping_flaw
from bpfree.rulesets import exception_in_words

__all__ = ["Flag", "audit", "copied", "mistake"]

_KINDS = {"stop": "stopping", "budget": "budget", "search": "search", "lr_schedule": "schedule", "batch_size": "batches"}
_SEARCHED = frozenset({"lr", "weight_decay"})
"""Hyper-parameters taken as searched where nothing says which were."""


@dataclass(frozen=True)
class Flag:
    """One thing that must be known before quoting.

    Attributes:
        key: stable name of the kind, such as ``"unequal-search"``.
        text: sentence without its task.
        task: data set and net, empty where the report has one task only or the flag is about several.
    """

    key: str
    text: str
    task: str = ""

    def __str__(self) -> str:
        return f"{self.task}: {self.text}" if self.task else self.text[0].upper() + self.text[1:]


def mistake(key: str, text: str) -> Flag:
    """A flag whose text begins with the name of the mistake in capitals."""
    name = key.replace("-", " ").upper().replace("HYPER PARAMETERS", "HYPER-PARAMETERS")
    return Flag(key, f"{name}: {text}")


def audit(table: Table, material: Material) -> Iterator[Flag]:
    """What in one table is unequal or against the ruleset, each with the name of the mistake."""
    yield from _exceptions(table, material)
    for row in table.rows:
        yield from _runs(row, table, material)
        yield from _search(row, table, material)
        yield from _same_seed(row)
    yield from _untuned(table)


def _exceptions(table: Table, material: Material) -> Iterator[Flag]:
    rules = material.ruleset
    for k, exception in enumerate(rules.exceptions):
        phases = exception.phases or (None,)
        covered = [r for r in table.rows if any(exception.applies(r.arm, table.dataset, table.net, phase) for phase in phases)]
        if covered and len(covered) < len(table.rows):
            kind = _KINDS.get(exception.field.partition(".")[0], "rules")
            yield mistake(f"unequal-{kind}", exception_in_words(rules, k))


def _runs(row: ArmRow, table: Table, material: Material) -> Iterator[Flag]:
    """Stopping and the chosen state, checked against the histories."""
    for key, check in (("unequal-stopping", stopping_flaw), ("state-not-chosen-on-validation", state_flaw)):
        ended = [run for run in row.runs if run.status == "ok" and run.history]
        flaws = [flaw for run in ended if (flaw := check(run, material.ruleset))]
        if flaws:
            yield mistake(key, f"in {len(flaws)} of {len(ended)} runs of {row.label}, {flaws[0]}.")
    # An arm that can choose has the choice among what its record says that it fixes.
    if material.ruleset.readout == "best-prefix-on-validation" and "best-prefix" not in re.split("[:=]", row.runs[0].variant):
        yield Flag("one-readout", f"{row.label} has one readout only, so validation had nothing to choose among.")


def _search(row: ArmRow, table: Table, material: Material) -> Iterator[Flag]:
    rules = material.ruleset.for_arm(row.arm, table.dataset, table.net)
    trials = {run.tuning_energy.trials for run in row.runs if run.tuning_energy}
    if trials and trials != {rules.search.trials}:
        counts = " or ".join(map(str, sorted(trials)))
        text = f"{row.label} was tuned with {counts} trials, the ruleset says {rules.search.trials}."
        yield mistake("unequal-search", text)
    for runs in row.searches.values():
        yield from _not_chosen(row, runs, material)


def _not_chosen(row: ArmRow, runs: Sequence[Record], material: Material) -> Iterator[Flag]:
    """Values of the runs of one search that this search did not choose."""
    best = (material.tuned_entry(runs[0]) or {}).get("best") or {}
    for name, value in best.items():
        used = {run.params[name] for run in runs if name in run.params}
        if used and used != {value}:
            values = ", ".join(f"{each:.6g}" if isinstance(each, float) else str(each) for each in sorted(used, key=str))
            yield mistake(
                "copied-hyper-parameters",
                f"the runs of {row.label} used {name} = {values}, but its search chose {value:.6g}; the values are not its own.",
            )


def _untuned(table: Table) -> Iterator[Flag]:
    by_hand = [row.label for row in table.rows if all(run.tuning_energy is None for run in row.runs)]
    if by_hand and len(by_hand) < len(table.rows):
        text = f"{', '.join(by_hand)} was not tuned; its values were given by hand, those of the others searched."
        yield mistake("unequal-search", text)
    elif by_hand:
        yield Flag("untuned", "nothing was tuned: the hyper-parameters were given by hand.")


def _same_seed(row: ArmRow) -> Iterator[Flag]:
    """Runs with the same loss in every pass are one run: two seeds do not agree to the last digit."""
    by_losses: dict[tuple[float | None, ...], list[int]] = defaultdict(list)
    for run in row.runs:
        losses = tuple(entry.train_loss for entry in run.history)
        if any(losses):
            by_losses[losses].append(run.seed)
    for seeds in by_losses.values():
        if len(seeds) > 1:
            yield mistake(
                "same-seed",
                f"the runs of {row.label} with seeds {', '.join(map(str, seeds))} have the same training loss in every pass: "
                f"one run was counted {len(seeds)} times.",
            )


def copied(tables: Sequence[Table], material: Material) -> Iterator[Flag]:
    """Tuned values that two arms, or one arm on two tasks, share: two searches do not choose the same digits.

    Where all arms try the points of one sequence, of one grid or of the same draws, they may.
    """
    if material.ruleset.search.sampler.name != "tpe":
        return
    users: dict[tuple[str, float], list[tuple[str, Record]]] = defaultdict(list)
    for table in tables:
        for row in table.rows:
            user = f"{row.label} on {table.dataset} with {table.net}" if len(tables) > 1 else row.label
            run = row.runs[0]
            for name in sorted(_searched(row, table, material)):
                value = run.params.get(name)
                if isinstance(value, float) and value != 0:
                    users[name, value].append((user, run))
    shared: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for (name, value), sharers in users.items():
        if len(sharers) > 1 and any(run.tuning_energy is not None for _user, run in sharers):
            shared[tuple(user for user, _run in sharers)].append(f"{name} = {value:.6g}")
    for names, values in shared.items():
        yield mistake(
            "copied-hyper-parameters",
            f"{' and '.join(names)} have the same {', '.join(values)}; two searches do not choose the same digits, so one has "
            "the values of another.",
        )


def _searched(row: ArmRow, table: Table, material: Material) -> set[str]:
    """Names of what was searched for an arm, less what the arm fixes."""
    chosen = (material.tuned_entry(row.runs[0]) or {}).get("best")
    elsewhere = {name for entry in material.tuned for name in entry.get("best") or {}}
    fixed = {part.partition("=")[0] for part in row.runs[0].variant.split(":")}
    return set(chosen or elsewhere or _SEARCHED) - fixed
