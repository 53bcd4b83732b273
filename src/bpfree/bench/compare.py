"""The main job: tune every arm under one ruleset, train it on fresh seeds with the arms interleaved, meter each run.

Under a ruleset of several studies, search and measurement are one: the best trial of each study is its measured run.
A cell (arm, data, net, seed or study) is run once. The process may die at any time: the journal and the records are the state,
and the same command resumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch

from bpfree.bench.arm import Arm
from bpfree.bench.directory import RunDirectory
from bpfree.bench.journal import open_storage
from bpfree.bench.outcome import Tuned
from bpfree.bench.runs import measure_into
from bpfree.bench.setting import Setting
from bpfree.bench.studies import ArmStudy
from bpfree.bench.study import search
from bpfree.bench.tuned import TunedRow
from bpfree.errors import RunDirectoryError, RunInterruptedError
from bpfree.records import CONTROL_SEEDS, Record
from bpfree.train import Progress

__all__ = ["ComparisonRun", "Observer", "SilentObserver"]


class Observer(Protocol):
    """Who watches. Called between passes, never inside one."""

    def begin(self, stage: str, n_passes: int) -> None:
        """A stage (a trial, a run) begins, of at most ``n_passes``."""
        ...

    def passed(self, progress: Progress) -> None:
        """A pass is done."""
        ...

    def end(self, line: str) -> None:
        """The stage is over; ``line`` says how it went."""
        ...


class SilentObserver:
    """An observer that shows nothing."""

    def begin(self, stage: str, n_passes: int) -> None:
        """Nothing."""

    def passed(self, progress: Progress) -> None:
        """Nothing."""

    def end(self, line: str) -> None:
        """Nothing."""


@dataclass
class ComparisonRun:
    """Arms, seeds and a setting, to be run in an opened directory.

    Attributes:
        seeds: of the measured runs; not used by a ruleset of several studies.
        other_splits: the setting on further splits of the same data; everything is run on each.
        interrupted: what was left out because memory ran out, with the reason; the same command tries again.
    """

    setting: Setting
    arms: Sequence[Arm]
    seeds: Sequence[int]
    directory: RunDirectory
    observer: Observer
    other_splits: Sequence[Setting] = ()
    interrupted: list[str] = field(default_factory=list)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """One for each split."""
        return (self.setting, *self.other_splits)

    def n_passes(self) -> int:
        """Upper bound on the passes that are still to be run, for the time left."""
        search, name = self.setting.ruleset.search, self.setting.data.name
        trial, run = self.setting.ruleset.trial_passes(name), self.setting.ruleset.passes(name)
        one_search = search.trials * trial + len(self.seeds) * run
        an_arm = search.studies * search.trials * run if search.studies > 1 else one_search
        return len(self.settings) * len(self.arms) * an_arm

    def run(self) -> list[Record]:
        """Search and measure whatever is not there yet; returns all records of the directory.

        Raises:
            RunDirectoryError: the directory has runs on other data of the same name.
            RunInterruptedError: the device was lost. Where memory ran out, the other arms and runs go on, see ``interrupted``.
            KeyboardInterrupt: after the interrupted run has been recorded as such.
        """
        self._check_data()
        for setting in self.settings:
            if setting.ruleset.search.studies > 1:
                self._run_studies(setting)
            else:
                self._run_seeds(setting)
        return self.directory.records()

    def tune(self) -> dict[str, Tuned]:
        """The one search of every arm, one after another, on the first split.

        Raises:
            RunInterruptedError: a search was interrupted; the same command goes on with it.
        """
        self._check_data()
        tuned = self._tune(self.setting)
        if self.interrupted:
            raise RunInterruptedError(self.interrupted[0], "memory")
        return tuned

    def _check_data(self) -> None:
        """Refuse a directory that has runs on other data of the same name: its table would be of two data sets."""
        for setting in self.settings:
            mine = setting.data.data_digest
            for record in self.directory.records():
                same = (record.dataset, record.split_seed) == (setting.data.name, setting.split_seed)
                if same and record.data_digest != mine:
                    raise RunDirectoryError(
                        f"{self.directory.path} holds runs on {record.dataset} with other contents (digest "
                        f"{(record.data_digest or record.split)[:16]}, now {mine[:16]}); choose another --out DIR"
                    )

    def _run_seeds(self, setting: Setting) -> None:
        tuned = self._tune(setting)
        self.directory.add_tuned([TunedRow.model_validate(result.row) for result in tuned.values()])
        for arm, seed in self._cells(setting):
            if arm.label in tuned:
                with self._going_on(f"{arm.label}, seed {seed}"):
                    self._measure(setting, arm, seed, tuned[arm.label])

    @contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        """Where memory runs out in the block, note it: another arm may need less."""
        why = ""
        try:
            yield
        except RunInterruptedError as error:
            if error.cause != "memory":
                raise
            why = str(error)
        if why:  # the traceback is gone, and with it what held the memory
            if self.setting.device.type == "cuda":
                torch.cuda.empty_cache()
            self.interrupted.append(f"{what}: {why}")
            self._say(f"{what}: interrupted ({why})")

    def _tune(self, setting: Setting) -> dict[str, Tuned]:
        storage = open_storage(self.directory.journal_path)
        tuned: dict[str, Tuned] = {}
        for arm in self.arms:
            under = setting.arm_rules(arm)
            if under.trials:
                self.observer.begin(f"search {arm.label}", under.trials * under.trial_passes)
            with self._going_on(f"search {arm.label}"):
                tuned[arm.label] = search(setting, arm, storage, on_pass=self.observer.passed)
            if under.trials and arm.label in tuned:
                self._say(f"search {arm.label}: {_found(tuned[arm.label])}")
        return tuned

    def _cells(self, setting: Setting) -> Iterator[tuple[Arm, int]]:
        """Every cell that is not finished: seeds outside, arms inside, each seed starting with another arm.

        Interleaving spreads what drifts (clocks, temperature, other load) over the arms. A control has seeds of its own.
        """
        done = self.directory.finished()
        for turn, seed in enumerate(self.seeds):
            for arm in self._rotated(turn):
                arm_seed = seed + (CONTROL_SEEDS if arm.control else 0)
                if setting.arm_rules(arm).cell(arm_seed) not in done:
                    yield arm, arm_seed

    def _rotated(self, turn: int) -> list[Arm]:
        first = turn % len(self.arms)
        return [*self.arms[first:], *self.arms[:first]]

    def _measure(self, setting: Setting, arm: Arm, seed: int, tuned: Tuned) -> None:
        self.observer.begin(f"{arm.label}, seed {seed}", setting.arm_rules(arm).passes)
        record = measure_into(self.directory, setting, arm, tuned.best, seed, tuned.cost, on_pass=self.observer.passed)
        self._say(f"{arm.label}, seed {seed}: {_outcome(record)}")

    def _run_studies(self, setting: Setting) -> None:
        """Studies outside, trials inside them, arms innermost, each trial starting with another arm."""
        storage = open_storage(self.directory.journal_path)
        search = setting.ruleset.search
        for number in range(search.studies):
            done = self.directory.finished()
            studies = {arm.label: ArmStudy(setting, arm, number, storage, self.directory.checkpoints_path) for arm in self.arms}
            for arm in self.arms:
                if setting.arm_rules(arm).cell(number) in done:
                    ended = studies.pop(arm.label)
                    ended.close()  # killed after its record was written, it may have left a state behind
                    self.directory.add_tuned([TunedRow.model_validate(ended.tuned().row)])  # if the file was damaged
            for index in range(search.trials):
                for arm in self._rotated(number * search.trials + index):
                    if arm.label in studies and studies[arm.label].n_done <= index < setting.arm_rules(arm).trials:
                        with self._going_on(f"{arm.label}, study {number}, trial {index}"):
                            self._run_trial(setting, studies[arm.label], index)
                        if studies[arm.label].n_done == index:  # interrupted: the study cannot go on without this trial
                            del studies[arm.label]
            for study in studies.values():
                with self._going_on(f"{study.arm.label}, study {number}"):
                    self._measure_study(study)

    def _run_trial(self, setting: Setting, study: ArmStudy, index: int) -> None:
        stage = f"{study.arm.label}, study {study.number}, trial {index}"
        self.observer.begin(stage, setting.arm_rules(study.arm).passes)
        record = study.run_trial(index, on_pass=self.observer.passed, on_trace=self.directory.keep_trace)
        if record.val_accuracy is None:
            came = f"{record.status} ({record.reasons['status']})"
        else:
            came = f"validation accuracy {record.val_accuracy:.4f} after {record.passes} passes in {record.time_s:.2f} s"
        self._say(f"{stage}: {came}")

    def _measure_study(self, study: ArmStudy) -> None:
        tuned = study.tuned()
        record = study.measured()
        self.directory.add_tuned([TunedRow.model_validate(tuned.row)])
        self.directory.append(record)
        study.close()
        self._say(f"{study.arm.label}, study {study.number}: {_found(tuned)}, {_outcome(record)}")

    def _say(self, line: str) -> None:
        self.directory.log(line)
        self.observer.end(line)


def _found(tuned: Tuned) -> str:
    best = ", ".join(f"{key} {value:.3g}" for key, value in tuned.best.items())
    return f"{best}, validation accuracy {tuned.best_val_accuracy:.4f}"


def _outcome(record: Record) -> str:
    if record.test_accuracy is None:
        return f"{record.status} ({record.reasons['status']})"
    return f"test accuracy {record.test_accuracy:.4f} after {record.passes} passes in {record.time_s:.2f} s"
