"""``bpfree.compare``: the comparison of the command line, called from Python with nets and data of one's own."""

from __future__ import annotations

import html
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bpfree import report
from bpfree.algorithms import Algorithm, names, params, rule_class
from bpfree.bench import Arm, ComparisonRun, RunDirectory, SilentObserver, fresh_path
from bpfree.bench.bar import BarObserver
from bpfree.bench.checked import arms_for, checked
from bpfree.bench.device import torch_device
from bpfree.bench.preparation import other_splits, prepare
from bpfree.cores import check_jobs
from bpfree.data import Source
from bpfree.errors import RunInterruptedError, UsageError
from bpfree.meter import carbon_factor
from bpfree.records import Record
from bpfree.report import TextTable
from bpfree.rulesets import Ruleset, changed_rules
from bpfree.train import ShortBudgetWarning
from bpfree.train.result import as_frame

if TYPE_CHECKING:
    import pandas

__all__ = ["Comparison", "compare"]

_COLUMNS = (
    *("arm", "seed", "study", "status", "test_accuracy", "val_accuracy", "passes", "time_s", "joules", "co2e_g"),
    *("peak_memory_bytes", "n_params", "params", "dataset", "net"),
)


@dataclass(frozen=True)
class Comparison:
    """What was run and how it is reported; ``print(comparison)`` shows the tables of the command line, a notebook too.

    Attributes:
        directory: the run directory; ``bpfree report`` and a later call with ``out=directory`` go on from it.
        records: every measured run.
        page: the report.
        summary: the report as plain values, as ``bpfree compare --json`` prints it.
        tables: the headline table of each data set and net.
        interrupted: what was left out because memory ran out, with the reason.
    """

    directory: Path
    records: tuple[Record, ...] = field(repr=False)
    page: Path
    summary: dict[str, Any] = field(repr=False)
    tables: tuple[TextTable, ...] = field(repr=False)
    interrupted: tuple[str, ...] = ()

    def to_frame(self) -> pandas.DataFrame:
        """One row for each measured run: arm, seed, accuracies (fractions), passes, seconds, joules, tuned values.

        Raises:
            UsageError: pandas is not installed.
        """
        rows = [{"joules": record.energy.joules} | record.model_dump(include=set(_COLUMNS)) for record in self.records]
        return as_frame(rows, _COLUMNS)

    def __str__(self) -> str:
        lines: list[str] = []
        for table in self.tables:
            widths = [max(map(len, column)) for column in zip(table.headings, *table.rows, strict=True)]
            lines.append(table.title)
            for row in (table.headings, *table.rows):
                lines.append("  ".join(_flat(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            lines += table.notes
        return "\n".join([*lines, f"report: {self.page}"])

    def _repr_html_(self) -> str:
        return "".join(map(_as_html, self.tables)) + f"<p>report: {html.escape(str(self.page))}</p>"


def compare(
    rules: Sequence[str | Algorithm] | None = None,
    net: Any = None,
    data: Source | None = None,
    *,
    ruleset: str | Path | Ruleset = "quick",
    out: str | Path | None = None,
    device: str = "cpu",
    jobs: int | None = 1,
    progress: bool | None = None,
    data_dir: str | Path | None = None,
    channels: str = "auto",
    estimate_energy: bool = False,
    country: str | None = None,
    grid_g_per_kwh: float | None = None,
    accept_other_code: bool = False,
    **changes: Any,
) -> Comparison:
    """Tune every arm under one ruleset, train it on fresh seeds, meter it, write records and a report: ``bpfree compare``.

    The records and the report are those of the command with the same arguments. As there, torch's number of threads is set for
    the size of the net, and stays so.

    Args:
        rules: arms, as text (``"mono-forward:schedule=staged"``) or as rules; a rule's hyper-parameters that differ from its
            defaults are fixed, the others are tuned. By default those of the ruleset's plan.
        net: a text (``"mlp:2x256"``, ``"module:function"``), a function of (in_shape, n_classes), or a Chain or
            ``nn.Sequential``, of which every run trains a copy. By default that of the plan.
        data: a name, a file, ``"module:function"``, a Dataset with its test split, a :class:`bpfree.data.Table`, a pair (x, y),
            or a function that returns one of the last three. By default that of the plan.
        ruleset: a name, a YAML file, or the rules.
        out: run directory, made or resumed; by default a new one, ``runs/DATE-DATA``.
        device: ``"cpu"`` or ``"cuda"``.
        jobs: processes that share a search, None for as many as are of use; a net that is no text needs 1. More than 1 in a
            script needs ``if __name__ == "__main__":``.
        progress: whether a progress bar is shown on standard error; by default where that is a terminal.
        data_dir, channels, estimate_energy, country, grid_g_per_kwh, accept_other_code: as the options of the command.
        changes: rules by name: ``seeds``, ``trials``, ``max_passes``, ``patience``, ``batch_size``, ``studies``, ``target``, ...
            (:data:`bpfree.rulesets.ALIASES`, and every field).

    Raises:
        BpfreeError: in one line, what cannot be run or compared. Nothing has been written.
        RunInterruptedError: memory ran out in every run, or the device was lost; the same call with ``out`` goes on.
    """
    where = torch_device(device)
    check_jobs(jobs, str(where))
    chosen = changed_rules(ruleset, "compare", changes)
    source = data if data is not None else (chosen.plan.datasets[0] if chosen.plan.datasets else "digits")
    given = net if net is not None else (chosen.plan.nets[0] if chosen.plan.nets else "mlp:2x256")
    if jobs != 1 and not isinstance(given, str):
        raise UsageError(
            f"jobs={jobs} was asked, and other processes cannot make the net; give it as 'module:function', or jobs=1"
        )
    factor = carbon_factor(country, grid_g_per_kwh)
    folder = None if data_dir is None else Path(data_dir)

    chosen, arms = arms_for(chosen, "compare", None if rules is None else arms_of(rules))  # before data are loaded
    setting = prepare(
        chosen, source, given, where, data_dir=folder, channels=channels, factor=factor, estimate=estimate_energy,
        plan={"command": "bpfree.compare(...)"},
    )  # fmt: skip
    ready = checked(setting, arms, "compare")
    if "test" not in ready.setting.data.splits:
        raise UsageError(f"{ready.dataset} has no test split, which every measured run reads once; give the data set with it")
    others = other_splits(ready.setting, source, data_dir=folder, channels=channels)
    directory = RunDirectory(Path(out) if out is not None else fresh_path(ready.dataset))
    facts, seeds = ready.setting.facts, ready.setting.ruleset.plan.seeds
    with directory.opened(ready.setting.ruleset, facts, accept_other_code=accept_other_code):
        for short in ready.short_budgets():
            warnings.warn(short, ShortBudgetWarning, stacklevel=2)
        run = ComparisonRun(ready.setting, ready.arms, seeds, directory, SilentObserver(), others, jobs)
        shown = sys.stderr.isatty() if progress is None else progress
        console = Console(stderr=True, highlight=False)
        with BarObserver(console, run.n_passes()) if shown else nullcontext(SilentObserver()) as observer:
            run.observer = observer
            records = run.run()
        if not records:
            raise RunInterruptedError(f"{run.interrupted[0]}; go on with out={str(directory.path)!r}", "memory")
        paths = report.build([directory.path], accept_other_code=accept_other_code)
        return Comparison(
            directory.path,
            tuple(records),
            paths.page,
            report.summarise([directory.path], accept_other_code=accept_other_code),
            tuple(report.headline_rows([directory.path], accept_other_code=accept_other_code)),
            tuple(run.interrupted),
        )


def arms_of(rules: Sequence[str | Algorithm]) -> tuple[Arm, ...]:
    """Arms of texts and rules.

    Raises:
        UsageError: none, one twice, something else, or a rule that is not registered.
    """
    if isinstance(rules, str | Algorithm):
        raise UsageError(f"rules must be a list of rules, got {rules!r}; write [{rules!r}]")
    arms = [Arm.parse(rule if isinstance(rule, str) else _text(rule)) for rule in rules]
    if not arms:
        raise UsageError("no rule was given; write compare(['backprop', 'mono-forward'], ...)")
    labels = [arm.label for arm in arms]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"the arm {label!r} is listed {labels.count(label)} times; list it once")
    return tuple(arms)


def _text(rule: Algorithm) -> str:
    """``name:key=value`` of what differs from the rule's defaults."""
    if not isinstance(rule, Algorithm):
        raise UsageError(f"rules must hold names or rules of bpfree.algorithms, got {rule!r}")
    if rule.name not in names() or rule_class(rule.name) is not type(rule):
        raise UsageError(
            f"{type(rule).__name__} is not registered as {rule.name!r}, and records name rules; declare it as an entry point of "
            "the group bpfree.algorithms"
        )
    defaults = params(type(rule)())
    changed = {key: value for key, value in params(rule).items() if value != defaults[key]}
    return ":".join([rule.name, *(f"{key}={_word(value)}" for key, value in changed.items())])


def _word(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _as_html(table: TextTable) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(_flat(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in table.rows)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in table.notes)
    return f"<p><b>{html.escape(table.title)}</b></p><table>{row(table.headings, 'th')}{body}</table>{notes}"
