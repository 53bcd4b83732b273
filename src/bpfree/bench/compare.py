"""The main job: tune every arm under one ruleset, train it on fresh seeds with the arms interleaved, meter each run.

Under a ruleset of several studies, search and measurement are one: the best trial of each study is its measured run.
A cell (arm, data, net, seed or study) is run once. The process may die at any time: the journal and the records are the state,
and the same command resumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from optuna.storages import BaseStorage

from bpfree.bench.arm import Arm
from bpfree.bench.cost import n_parameters
from bpfree.bench.directory import RunDirectory
from bpfree.bench.jobs import default_jobs, may_default
from bpfree.bench.journal import open_storage
from bpfree.bench.observer import Observer
from bpfree.bench.outcome import Tuned
from bpfree.bench.parallel import n_at_once, search_at_once
from bpfree.bench.published import Work
from bpfree.bench.results import Results, collect
from bpfree.bench.runs import measure_into
from bpfree.bench.setting import Setting
from bpfree.bench.shared import Sharing
from bpfree.bench.studies import ArmStudy
from bpfree.bench.study import ArmSearch, search
from bpfree.bench.tasks import tasks_of
from bpfree.bench.tuned import TunedRow
from bpfree.early_processes import discard_waiting
from bpfree.errors import RunDirectoryError, RunInterruptedError
from bpfree.functions import is_function_text
from bpfree.records import CONTROL_SEEDS, Record

__all__ = ["ComparisonRun"]


@dataclass
class ComparisonRun:
    """Arms, seeds and a setting, to be run in an opened directory.

    Attributes:
        seeds: of the measured runs; not used by a ruleset of several studies.
        other_splits: the setting on further splits of the same data; everything is run on each.
        jobs: processes that share a search, this one included, see :mod:`bpfree.bench.parallel`; None for as many as there are
            idle cores, where nothing is lost by it (:func:`bpfree.bench.jobs.may_default`). A script that asks for several does
            its work under ``if __name__ == "__main__":``, since each of them imports it.
        shared: where other processes find the same work; None where this one does it alone.
        interrupted: what was left out because memory ran out, with the reason; the same command tries again.
    """

    setting: Setting
    arms: Sequence[Arm]
    seeds: Sequence[int]
    directory: RunDirectory
    observer: Observer
    other_splits: Sequence[Setting] = ()
    jobs: int | None = 1
    shared: Work | None = None
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
        self._share(self.settings, runs=True)
        with self._answering():
            for setting in self.settings if self.arms else ():
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
        self._share([self.setting], runs=False)
        with self._answering():
            tuned = self._tune(self.setting)
        if self.interrupted:
            raise RunInterruptedError(self.interrupted[0], "memory")
        return tuned

    def _share(self, settings: Sequence[Setting], *, runs: bool) -> None:
        """Plan the work where other processes find it, and do it with them; what was interrupted is left out from then on."""
        if self.shared is None:
            if self.directory.has_workers():
                raise RunDirectoryError(f"{self.directory.path} has workers; give --storage journal too, or wait until they end")
            return
        discard_waiting()
        work, patient = self.shared, self.shared.store.patient
        claims = patient(lambda: work.plan(str(self.setting.device)))
        patient(lambda: claims.plan([task.key for task in tasks_of(settings, self.arms, self.seeds, runs=runs)]))
        results = Results(self.directory, self.setting.facts, in_database=work.store.in_database)
        sharing = Sharing(settings, self.arms, claims, results, self.observer, self._say)
        sharing.work()
        collect(patient(claims.entries), self.directory)
        self.interrupted += sharing.interrupted
        self.arms = [arm for arm in self.arms if arm.label not in sharing.left_out]

    def _answering(self) -> AbstractContextManager[None]:
        return nullcontext() if self.shared is None else self.shared.store.answering()

    def _storage(self) -> BaseStorage:
        return open_storage(self.directory.journal_path) if self.shared is None else self.shared.store.storage

    def _check_data(self) -> None:
        """Refuse a directory that has runs on other data or another net of the same name: its table would be of two."""
        for setting in self.settings:
            self._check_net(setting)
            mine = setting.data.data_digest
            for record in self.directory.records():
                same = (record.dataset, record.split_seed) == (setting.data.name, setting.split_seed)
                if same and record.data_digest != mine:
                    raise RunDirectoryError(
                        f"{self.directory.path} holds runs on {record.dataset} with other contents (digest "
                        f"{(record.data_digest or record.split)[:16]}, now {mine[:16]}); choose another --out DIR"
                    )

    def _check_net(self, setting: Setting) -> None:
        """A user's function may have been changed between two calls; a net of other size is seen by its parameters."""
        if not is_function_text(setting.net):
            return
        arms = {arm.label: arm for arm in self.arms}
        for record in self.directory.records():
            if (record.net, record.dataset) == (setting.net, setting.data.name) and record.arm in arms:
                now = n_parameters(arms[record.arm].build({}), setting.build_net())
                if now != record.n_params:
                    raise RunDirectoryError(
                        f"{self.directory.path} holds runs of {setting.net} with {record.n_params:,} parameters, and now it "
                        f"makes a net with {now:,}; choose another --out DIR"
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
        if why:  # the traceback, which held the memory, is deleted
            if self.setting.device.type == "cuda":
                torch.cuda.empty_cache()
            self.interrupted.append(f"{what}: {why}")
            self._say(f"{what}: interrupted ({why})")

    def _tune(self, setting: Setting) -> dict[str, Tuned]:
        storage = self._storage()
        searches = [ArmSearch(setting, arm, storage) for arm in self.arms]
        for each in searches if setting.ruleset.plan.tier == "compiled" else ():
            self.observer.begin(f"compile {each.arm.label}", 0)
            with self._going_on(f"search {each.arm.label}"):
                each.compile()
        shown = self._search_at_once(searches) if self.jobs != 1 else {}
        tuned: dict[str, Tuned] = {}
        for arm in self.arms:
            under = setting.arm_rules(arm)
            if under.trials:
                self.observer.begin(f"search {arm.label}", under.trials * under.trial_passes - shown.get(arm.label, 0))
            with self._going_on(f"search {arm.label}"):
                on_trial = partial(self._show_trial, arm)
                tuned[arm.label] = search(setting, arm, storage, on_trial=on_trial, on_pass=self.observer.passed)
            if under.trials and arm.label in tuned:
                self._say(f"search {arm.label}: {_best_in_words(tuned[arm.label])}")
        return tuned

    def _show_trial(self, arm: Arm, index: int) -> None:
        under = self.setting.arm_rules(arm)
        self.observer.trial(f"trial {index + 1} of {under.trials}", under.trial_passes)

    def _search_at_once(self, searches: Sequence[ArmSearch]) -> dict[str, int]:
        """Make trials that are left in several processes, if there are to be several; what needs to be alone is left.

        Returns:
            The passes of each arm, by label, that the observer has counted already.
        """
        shown: dict[str, int] = {}
        jobs = min(self.jobs, n_at_once(searches)) if self.jobs is not None else self._default_jobs(searches, shown)
        if self.jobs is not None and self.jobs > jobs and any(len(s.pending()) > 1 for s in searches if s.in_order):
            self._say(
                "the sampler tpe proposes a trial from those before it, so only arms are searched at once, and the trials of "
                f"an arm one after another: --jobs {self.jobs} uses {max(1, jobs)}"
            )
        if jobs < 2:
            discard_waiting()
            return shown
        self.observer.begin(f"search, {jobs} processes", 0)
        left = {search.arm.label: _passes_left(search) for search in searches}
        passes = search_at_once(searches, jobs, self.observer, self._say)
        made = {search.arm.label: left[search.arm.label] - _passes_left(search) for search in searches}
        self.observer.advance(max(0, sum(made.values()) - passes))  # what early stopping saved
        return {label: shown.get(label, 0) + n for label, n in made.items()}

    def _default_jobs(self, searches: Sequence[ArmSearch], shown: dict[str, int]) -> int:
        """As many processes as are of use, which the time of a trial tells: where none has been made, one is made here."""
        if not may_default(searches[0].setting) or n_at_once(searches) < 2:
            return 1
        if not any(search.finished() for search in searches):
            first = next(search for search in searches if search.pending())
            label = first.arm.label
            self.observer.begin(f"search {label}", 0)
            try:
                index = first.pending()[0]
                self._show_trial(first.arm, index)
                shown[label] = first.make(index, self.observer.passed).passes
            except RunInterruptedError as error:
                if error.cause != "memory":
                    raise
                return 1  # more processes need more memory
        times_s = [trial.time_s for search in searches for trial in search.finished()]
        n_left = sum(len(search.pending()) for search in searches)
        return default_jobs(n_left * sum(times_s) / len(times_s), n_at_once(searches))

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
        discard_waiting()
        storage = self._storage()
        search = setting.ruleset.search
        if self.jobs is not None and self.jobs > 1:
            self._say(
                f"--jobs {self.jobs} is without effect: under ruleset {setting.ruleset.name} every trial is a measured run, and "
                "measured runs stay alone on their device"
            )
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
        under = setting.arm_rules(study.arm)
        self.observer.begin(stage, under.passes)
        self.observer.trial(f"{index + 1} of {under.trials}", under.passes)
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
        self._say(f"{study.arm.label}, study {study.number}: {_best_in_words(tuned)}, {_outcome(record)}")

    def _say(self, line: str) -> None:
        self.directory.log(line)
        self.observer.end(line)


def _passes_left(search: ArmSearch) -> int:
    """At most."""
    return len(search.pending()) * search.setting.arm_rules(search.arm).trial_passes


def _best_in_words(tuned: Tuned) -> str:
    best = ", ".join(f"{key} {value:.3g}" for key, value in tuned.best.items())
    return f"{best}, validation accuracy {tuned.best_val_accuracy:.4f}"


def _outcome(record: Record) -> str:
    if record.test_accuracy is None:
        return f"{record.status} ({record.reasons['status']})"
    return f"test accuracy {record.test_accuracy:.4f} after {record.passes} passes in {record.time_s:.2f} s"
