"""Reads what a report is made of: records, ruleset, environments and tuned values of run directories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree import rulesets
from bpfree.errors import RulesetError, RunDirectoryError
from bpfree.files import reading
from bpfree.records import Carbon, Record, read_records
from bpfree.report.energies import factors_of, is_estimated, on_one_grid, without_estimate
from bpfree.report.identity import check_identity
from bpfree.report.phase_ends import with_ends
from bpfree.report.side_files import read_environments, read_searches

__all__ = ["Material", "Task", "read_material"]

Task = tuple[str, str]
"""Data set and net: one table is about one task."""

_RULES_ANEW = " (the command that made the directory makes the file again)"


@dataclass(frozen=True)
class Material:
    """Contents of the run directories; nothing here is computed, but for why the phases of old records ended, and grams of CO₂e.

    Attributes:
        records: one for each cell, without energies that were estimated, and with grams by one carbon factor.
        origins: the directory of each record, in the same order.
        estimated: what was left out: the estimated joules of runs.
        factors: of carbon, as the runs were given them.
    """

    directories: tuple[Path, ...]
    records: tuple[Record, ...]
    ruleset: rulesets.Ruleset
    environments: Mapping[str, Mapping[str, Any]]
    tuned: tuple[Mapping[str, Any], ...]
    origins: tuple[Path, ...] = ()
    estimated: tuple[float, ...] = ()
    factors: tuple[Carbon, ...] = ()

    @property
    def tasks(self) -> list[Task]:
        """Data sets and nets in the order in which they were first measured."""
        return list(dict.fromkeys((record.dataset, record.net) for record in self.records))

    def arms(self, task: Task) -> dict[str, list[Record]]:
        """The records of one table by arm, in the order of the plan where it names the arms."""
        chosen = [record for record in self.records if (record.dataset, record.net) == task]
        planned = [str(arm) for record in chosen for arm in _listed(record.plan.get("arms"))]
        order = dict.fromkeys([*planned, *(record.arm for record in chosen)])
        arms = {arm: [record for record in chosen if record.arm == arm] for arm in order}
        return {arm: sorted(runs, key=lambda run: run.seed) for arm, runs in arms.items() if runs}

    def tuned_entry(self, run: Record) -> Mapping[str, Any] | None:
        """What ``tuned.json`` says of the search of a run: of its arm, task, study and split; None where it says nothing."""
        wanted = (run.arm, run.dataset, run.net, run.study, run.split_seed)
        return next((entry for entry in self.tuned if _searched_for(entry) == wanted), None)


def _searched_for(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """Arm, data set, net, study and split of a row of ``tuned.json``; earlier versions knew one split only."""
    return (*(entry.get(key) for key in ("arm", "dataset", "net", "study")), entry.get("split_seed", 0))


def read_material(directories: Sequence[Path], *, accept_other_code: bool = False) -> Material:
    """Read run directories that share one ruleset, and for each data set and net the data and the code.

    Args:
        accept_other_code: see :func:`bpfree.report.identity.check_identity`.

    Raises:
        RunDirectoryError: a directory without records, one run measured twice, or two data or two codes in one table.
        RulesetError: two rulesets; the message names the fields in which they differ.
    """
    if not directories:
        raise RunDirectoryError("no run directory was given; try: bpfree report runs/DIRECTORY")
    paths = tuple(dict.fromkeys(Path(directory) for directory in directories))
    records = {path: _records_of(path) for path in paths}
    environments: dict[str, Mapping[str, Any]] = {}
    tuned: list[Mapping[str, Any]] = []
    for path in paths:
        environments |= read_environments(path)
        # A search on other data of the same name is none of these runs'; before schema 2 an entry does not say its data.
        measured = {None, *(record.data_digest for record in records[path])}
        entries = [entry for entry in read_searches(path) if entry.get("data_digest") in measured]
        tuned += [entry for entry in entries if entry not in tuned]
    ruleset = _one_ruleset(records)
    check_identity(records, accept_other_code=accept_other_code)
    chosen = _once_each(records)
    runs = [with_ends(record, ruleset) for _path, record in chosen]
    measured = [without_estimate(run) for run in runs]
    return Material(
        directories=paths,
        ruleset=ruleset,
        records=tuple(on_one_grid(measured)),
        environments=environments,
        tuned=tuple(tuned),
        origins=tuple(path for path, _record in chosen),
        estimated=tuple(run.energy.joules or 0.0 for run in runs if is_estimated(run)),
        factors=tuple(factors_of(measured)),
    )


def _records_of(path: Path) -> list[Record]:
    if not path.is_dir():
        raise RunDirectoryError(f"{path} is not a directory; run directories are made by: bpfree compare --out DIR")
    records = read_records(path / "records.jsonl")
    if not records and (inside := sorted(str(file.parent) for file in path.glob("*/records.jsonl"))):
        raise RunDirectoryError(f"{path} holds run directories and no runs of its own; report on one: bpfree report {inside[0]}")
    if not records:
        raise RunDirectoryError(
            f"{path} holds no measured run (records.jsonl is missing or empty); "
            f"resume with the command that made it, or start one: bpfree compare --out {path}"
        )
    if not (path / "ruleset.yaml").is_file():
        raise RunDirectoryError(f"{path} has no ruleset.yaml; the rules it was run under are unknown{_RULES_ANEW}")
    return records


def _rules_of(path: Path) -> rulesets.Ruleset:
    file = path / "ruleset.yaml"
    with reading(file):
        file.read_bytes()
    try:
        return rulesets.load(file)
    except RulesetError as error:
        what = str(error).removeprefix(f"ruleset {file}").lstrip(", ")
        raise RunDirectoryError(f"{file} cannot be read ({what}); the rules it was run under are unknown{_RULES_ANEW}") from error


def _one_ruleset(records: Mapping[Path, Sequence[Record]]) -> rulesets.Ruleset:
    """The common ruleset; the directories must agree among themselves, and each with the records in it."""
    read = {str(path): _rules_of(path) for path in records}
    places: dict[str, str] = {rulesets.check_equal(read): f"{next(iter(read))}/ruleset.yaml"}
    for path, runs in records.items():
        for run in runs:
            places.setdefault(run.ruleset_digest, f"{path}/records.jsonl ({run.arm}, seed {run.seed})")
    rulesets.refuse_mixed({place: digest for digest, place in places.items()})
    return next(iter(read.values()))


def _once_each(records: Mapping[Path, Sequence[Record]]) -> list[tuple[Path, Record]]:
    """One record for each cell, with its directory: a later attempt replaces an interrupted or failed run, a copy counts once.

    Raises:
        RunDirectoryError: a cell has two results; counted twice, a seed would narrow the intervals.
    """
    chosen: dict[tuple[str | int, ...], tuple[Path, Record]] = {}
    for path, runs in records.items():
        for record in runs:
            earlier_path, earlier = chosen.get(record.cell, (path, None))
            again = earlier_path == path and earlier is not None and earlier.status != "ok"
            if earlier is None or earlier.status == "interrupted" or (again and record.status != "interrupted"):
                chosen[record.cell] = (path, record)
            elif record.status != "interrupted" and record != earlier:
                raise RunDirectoryError(
                    f"{record.arm} on {record.dataset} with {record.net}, seed {record.seed}, was measured twice "
                    f"({earlier_path} and {path}); a seed counts once, so report on one of them"
                )
    return list(chosen.values())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
