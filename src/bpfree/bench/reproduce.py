"""Running a suite: its rows become comparisons like any other; a row that cannot be run has a reason instead of a result.

One run directory for each ruleset of the suite, so that every table has one digest. A process may be killed at any time; the
same command resumes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bpfree import data as datasets
from bpfree.algorithms import check_net
from bpfree.bench import environment
from bpfree.bench.arm import Arm
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.causes import says, world_cause
from bpfree.bench.compare import ComparisonRun
from bpfree.bench.damage import set_aside
from bpfree.bench.directory import RunDirectory
from bpfree.bench.measure import Setting, check_supported
from bpfree.bench.observer import Observer, SilentObserver
from bpfree.bench.suites import Row, Section, Suite
from bpfree.bench.suites.directory import check_place
from bpfree.bench.suites.estimate import Estimate, Timing, estimate, time_steps
from bpfree.bench.suites.images import images_of
from bpfree.bench.suites.scale import scaled_data, split_seed
from bpfree.bench.suites.sizes import FROM_FOLDER, KNOWN, Size
from bpfree.data import Dataset
from bpfree.errors import BpfreeError, DataError, RulesetError, RunDirectoryError, StorageError, UsageError
from bpfree.files import write_atomic, writing
from bpfree.meter import CarbonFactor, Meter
from bpfree.nets import Chain, build
from bpfree.published import Number
from bpfree.rulesets import Ruleset, Split

__all__ = ["ArmGroup", "Line", "Reproduction"]

BASELINE = "backprop"


@dataclass
class Line:
    """One row of the suite; ``reason`` says why it is not run, and is empty where it is."""

    section: Section
    row: Row
    number: Number
    reason: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """Ruleset's key, data set and net: the group that it belongs to."""
        return (self.section.ruleset, self.row.dataset, self.row.net)


@dataclass(frozen=True)
class ArmGroup:
    """Arms that are run together: one ruleset, data set and net."""

    ruleset: str
    dataset: str
    net: str
    arms: tuple[Arm, ...]


@dataclass
class Reproduction:
    """A suite, or what was chosen of it.

    Attributes:
        rules: by their key in the suite, scaled if that was asked.
        data: loaded and scaled, by ruleset's key and data set; filled by :meth:`load`.
        only_arms: what ``--arms`` named; empty for all.
        interrupted: what was left out because memory ran out, with the reason; the same command tries again.
        folder: of images, for the rows whose data are no name of a loader.
    """

    suite: Suite
    scale: float
    rules: dict[str, Ruleset]
    lines: list[Line]
    only_arms: tuple[str, ...] = ()
    interrupted: list[str] = field(default_factory=list)
    data: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    folder: Path | None = None
    _nets: dict[tuple[str, tuple[int, ...], int], Chain] = field(default_factory=dict, repr=False)

    @property
    def stamps(self) -> tuple[str, ...]:
        """What every output must carry: those of any of its rulesets."""
        return tuple(dict.fromkeys(stamp for rules in self.rules.values() for stamp in rules.stamps))

    def groups(self) -> list[ArmGroup]:
        """What is to be run, in the suite's order.

        Backprop is run with every arm whose published number is a difference to it, even where it has no row.
        """
        by_place: dict[tuple[str, str, str], dict[str, None]] = {}
        for line in self.lines:
            if not line.reason:
                arms = by_place.setdefault(line.place, {})
                if line.number.difference is not None and (not self.only_arms or BASELINE in self.only_arms):
                    arms.setdefault(BASELINE)
                arms.setdefault(line.row.arm)
        return [ArmGroup(*place, tuple(Arm.parse(arm) for arm in arms)) for place, arms in by_place.items()]

    def batch_size(self, key: str) -> int:
        """The largest batch of any arm under a ruleset; the training split must have at least as many examples."""
        sizes = [self.arm_rules(line).rules.batch_size for line in self.lines if line.section.ruleset == key]
        return max([self.rules[key].batch_size, *sizes])

    def arm_rules(self, line: Line) -> ArmRules:
        """The rules of a row's arm on its data set and net."""
        row = line.row
        return ArmRules(self.rules[line.section.ruleset], Arm.parse(row.arm), row.dataset, row.net)

    def load(self, data_dir: Path | None, *, download: bool = True) -> None:
        """Load every data set of the chosen rows as its ruleset splits it.

        Rows whose data are absent, or whose ruleset does not say how to split them, get a reason that says so.

        Raises:
            DataError: no data set of the suite is there; it says how to get the first.
            UnknownNameError, UsageError: a data set that no folder could hold.
        """
        absent: dict[str, str] = {}
        whole: dict[tuple[str, Split, int], Dataset] = {}
        wanted = [line for line in self.lines if not line.reason]
        for line in wanted:
            key, name = line.section.ruleset, line.row.dataset
            rules = self.rules[key]
            if name not in absent and (key, name) not in self.data:
                try:
                    split, seed = rules.split_for(name), split_seed(rules)
                    if (name, split, seed) not in whole:
                        whole[name, split, seed] = (
                            images_of(name, self.folder, split, seed)
                            if name in FROM_FOLDER
                            else datasets.load(name, data_dir=data_dir, download=download, split=split, split_seed=seed)
                        )
                    part = scaled_data(whole[name, split, seed], rules, self.batch_size(key))
                    self.data[key, name] = part.augmented(rules.augmentation_for(name)).weighted(rules.weighted_by)
                except DataError as error:
                    absent[name] = str(error)
                except RulesetError as error:
                    line.reason = str(error)
            line.reason = line.reason or absent.get(name, "")
        if absent and all(line.row.dataset in absent for line in wanted):
            raise DataError(f"suite {self.suite.name} has no data here: {next(iter(absent.values()))}")

    def size(self, key: str, dataset: str) -> Size | None:
        """Size of the loaded data set, else of a known one; None for a file of the user that is not loaded."""
        if (key, dataset) in self.data:
            return Size.of(self.data[key, dataset])
        rules = self.rules[key]
        return KNOWN[dataset].divided(rules.split_for(dataset)).scaled(rules, self.batch_size(key)) if dataset in KNOWN else None

    def check(self) -> None:
        """Give every row that the harness, the net or the rule refuses its reason."""
        for line in self.lines:
            if line.reason:
                continue
            size = self.size(line.section.ruleset, line.row.dataset)
            if size is not None:
                line.reason = self._refusal(line, size)

    def _net(self, spec: str, size: Size) -> Chain:
        """The same for every row that trains it; only looked at."""
        key = (spec, size.in_shape, size.n_classes)
        if key not in self._nets:
            self._nets[key] = build(*key)
        return self._nets[key]

    def _refusal(self, line: Line, size: Size) -> str:
        try:
            net = self._net(line.row.net, size)
            arm = self.arm_rules(line)
            check_supported(arm.ruleset, [arm.arm], net)
            check_net(arm.chosen.build({}), net)
            net.check_batches(size.n_train, arm.rules.batch_size)
            net.check_batches(arm.rules.trial_examples(size.n_train, size.n_classes), arm.rules.batch_size)
        except BpfreeError as error:
            return str(error)
        return ""

    def estimates(self, device: torch.device, meter: Meter) -> dict[tuple[str, str, str, str], Estimate]:
        """Upper bound of every arm's cost, by (ruleset's key, data set, net, arm)."""
        timings: dict[tuple[Any, ...], Timing] = {}
        estimates: dict[tuple[str, str, str, str], Estimate] = {}
        for group in self.groups():
            size, rules = self.size(group.ruleset, group.dataset), self.rules[group.ruleset]
            if size is None:
                raise UsageError(f"the size of data set {group.dataset} is not known; load it first")
            for arm in group.arms:
                batch = min(ArmRules(rules, arm, group.dataset, group.net).rules.batch_size, size.n_train)
                same = (arm.label, group.net, size.in_shape, size.n_classes, batch)
                if same not in timings:
                    timings[same] = time_steps(arm, group.net, size, batch, device, meter)
                key = (group.ruleset, group.dataset, group.net, arm.label)
                n_seeds = len(rules.plan.seeds)
                estimates[key] = estimate(rules, arm, group.dataset, group.net, size, timings[same], n_seeds)
        return estimates

    def run(
        self,
        out: Path,
        *,
        device: torch.device,
        meter: Meter,
        factor: CarbonFactor | None,
        command: str,
        watch: Callable[[int], AbstractContextManager[Observer]],
        accept_other_code: bool = False,
        jobs: int | None = 1,
    ) -> None:
        """Run what is missing. Where a group fails as a whole, its rows get the reason, and the next group is run.

        Args:
            out: holds one run directory for each ruleset's key.
            watch: is given an upper bound on the passes, and returns the observer, which is entered while runs last.
            accept_other_code: see :meth:`RunDirectory.opened`.
            jobs: see :class:`bpfree.bench.compare.ComparisonRun`.

        Raises:
            RunDirectoryError: ``out`` holds something else, or runs under other rules.
            RunInterruptedError: the device was lost.
            KeyboardInterrupt: after the interrupted run has been recorded.
        """
        damage = self.check_place(out)
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        if damage:
            set_aside(out / "suite.json", damage, "the rows that earlier commands selected are lost, their runs are kept")
        self._write_plan(out)
        threads = torch.get_num_threads()
        prepared = [self._comparison(group, out, device, meter, factor, command) for group in self.groups()]
        with watch(sum(comparison.n_passes() for comparison in prepared)) as observer:
            for comparison in prepared:
                comparison.observer, comparison.jobs = observer, jobs
                torch.set_num_threads(threads)
                n_params = sum(p.numel() for p in comparison.setting.build_net().parameters())
                environment.configure_torch(n_params, comparison.setting.ruleset.batch_size, device)
                comparison.setting.facts = environment.facts(device)
                self._run_group(comparison, accept_other_code)
        torch.set_num_threads(threads)
        self._write_plan(out)

    def _run_group(self, comparison: ComparisonRun, accept_other_code: bool) -> None:
        setting, directory = comparison.setting, comparison.directory
        with directory.opened(setting.ruleset, setting.facts, accept_other_code=accept_other_code):
            why = ""
            try:
                comparison.run()
            except (StorageError, RunDirectoryError):  # the disk or the directory: no other group can be run either
                raise
            except (BpfreeError, RuntimeError, MemoryError) as error:  # the other groups can still be run
                if world_cause(error) in ("storage", "device"):
                    raise
                why = says(error)
                directory.log(f"{setting.plan['suite_dataset']} {setting.net}: {why}")
            self.interrupted += comparison.interrupted
            why = why or next(iter(comparison.interrupted), "")
            place = (setting.plan["suite_ruleset"], setting.plan["suite_dataset"], setting.net)
            measured = {(record.arm, record.dataset, record.net) for record in directory.records()}
            for line in self.lines if why else ():
                if line.place == place and (line.row.arm, setting.data.name, setting.net) not in measured:
                    line.reason = line.reason or why

    def _comparison(
        self, group: ArmGroup, out: Path, device: torch.device, meter: Meter, factor: CarbonFactor | None, command: str
    ) -> ComparisonRun:
        rules, data = self.rules[group.ruleset], self.data[group.ruleset, group.dataset].to(device)
        plan = {
            "command": command,
            "suite": self.suite.name,
            "suite_ruleset": group.ruleset,
            "suite_dataset": group.dataset,
            "scale": self.scale,
            "stamps": list(rules.stamps),
            "dataset": data.name,
            "net": group.net,
            "device": str(device),
            "tier": rules.plan.tier,
            "arms": [arm.label for arm in group.arms],
            "seeds": list(rules.plan.seeds),
        }
        facts = environment.facts(device)
        setting = Setting(rules, data, group.net, device, meter, factor, plan, facts, split_seed=split_seed(rules))
        return ComparisonRun(setting, group.arms, rules.plan.seeds, RunDirectory(out / group.ruleset), SilentObserver())

    def check_place(self, out: Path) -> str:
        """Refuse a directory that holds something else, see :func:`bpfree.bench.suites.directory.check_place`."""
        return check_place(out, self.suite.name, self.scale, self.rules)

    def _write_plan(self, out: Path) -> None:
        rows = [
            {
                "section": line.section.title,
                "ruleset": line.section.ruleset,
                "dataset": line.row.dataset,
                "net": line.row.net,
                "arm": line.row.arm,
                "not_run": line.reason or None,
                "published": dataclasses.asdict(line.number),
            }
            for line in self.lines
        ]
        plan = {"suite": self.suite.name, "scale": self.scale, "stamps": list(self.stamps), "rows": rows}
        write_atomic(out / "suite.json", json.dumps(plan, indent=2) + "\n")
