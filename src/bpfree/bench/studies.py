"""A ruleset of several studies: in each, every arm tries the same points, and the best trial on validation is the measured run.

A finished trial's record is in the journal before the trial counts as complete, and the state of the best trial so far is in a
file before that; so the process may be killed at any moment, and the same command goes on to the same records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import optuna

from bpfree.algorithms import model_tensors
from bpfree.bench.arm import Arm
from bpfree.bench.causes import interruption, raise_on
from bpfree.bench.draws import study_seed
from bpfree.bench.journal import finished_trials
from bpfree.bench.measure import RunFailed, run_once
from bpfree.bench.outcome import Tried, Tuned, best_trial, tuned_of
from bpfree.bench.record import broken, with_test, with_tuning
from bpfree.bench.setting import Setting
from bpfree.bench.study import Proposals, open_study
from bpfree.errors import DataError
from bpfree.files import writing
from bpfree.meter import Trace
from bpfree.models import Model
from bpfree.records import Record
from bpfree.rulesets import Ruleset
from bpfree.tensor_files import fill_tensors, write_tensors
from bpfree.train import Progress, initialise

__all__ = ["ArmStudy"]

KIND = "bpfree-study"
"""Under which a file's metadata says what it is."""

RECORD = "record"
"""The attribute of a trial that holds its record, as JSON, before the test split is read."""


class ArmStudy:
    """One arm in one study.

    Args:
        number: of the study, from 0.
        states: folder for the states of best trials.
    """

    def __init__(self, setting: Setting, arm: Arm, number: int, storage: optuna.storages.BaseStorage, states: Path) -> None:
        self.setting, self.arm, self.number = setting, arm, number
        self._proposals = Proposals(setting, arm, number)
        self._study = open_study(storage, setting, arm, number)
        self._folder = states
        self._stem = f"study-{hashlib.sha256(self._study.study_name.encode()).hexdigest()[:16]}-trial"

    @property
    def n_done(self) -> int:
        """Trials that are complete."""
        return len(finished_trials(self._study))

    def run_trial(
        self,
        index: int,
        *,
        on_pass: Callable[[Progress], None] = lambda _: None,
        on_trace: Callable[[Record, Trace], None] = lambda _, __: None,
    ) -> Record:
        """Train trial ``index``, as long as a run, and keep what it came to. The test split is not read.

        Args:
            on_trace: is given what the device did, if the trial is the best so far.

        Raises:
            KeyboardInterrupt, RunInterruptedError, StorageError: nothing is kept of the trial; it will be begun again.
        """
        seed = study_seed(self.number, index, split_seed=self.setting.split_seed, control=self.arm.control)
        values = self._proposals.ask(self._study, index)
        model, trace = None, None
        cause: BaseException | None = None
        try:
            record, model, trace = run_once(self.setting, self.arm, values, seed, study=self.number, on_pass=on_pass)
        except RunFailed as failure:
            record, cause = failure.record, failure.__cause__
            if record.status == "interrupted":
                raise_on(cause)
        accuracy = _objective(record, self.setting.ruleset) or 0.0
        tried = Tried(
            values,
            accuracy,
            seed,
            record.passes,
            record.time_s or 0.0,
            record.energy.joules,
            record.energy.method,
            record.status != "ok",
            record.reasons["status"] if record.status == "failed" else None,
        )
        is_best = best_trial([*self._tried(), tried]) == index
        if is_best and model is not None:
            self._save(index, model)
        if is_best and trace is not None:
            on_trace(record, trace)  # before the trial counts: killed in between, it is begun again
        self._proposals.tell(self._study, tried, **{RECORD: record.to_json()})
        raise_on(cause)
        self._forget(keep=best_trial(self._tried()))
        return record

    def tuned(self) -> Tuned:
        """What the study found, and what all its trials cost."""
        return tuned_of(self.setting, self.arm, self._tried(), self._proposals.space, self._proposals.words, self.number)

    def measured(self) -> Record:
        """The record of the best trial on validation, with its one look at the test split.

        Raises:
            KeyboardInterrupt, RunInterruptedError, StorageError: the test split was not scored; the same command tries again.
        """
        best = best_trial(self._tried())
        record = Record.model_validate_json(finished_trials(self._study)[best].user_attrs[RECORD])
        record = with_tuning(record, self.tuned().cost)
        if record.status != "ok":
            return record
        model = self._load(best, record)
        try:
            return with_test(record, self.setting, model)
        except Exception as error:
            if (of_the_world := interruption(error)) is not None:
                raise of_the_world from error
            return broken(record, error)

    def close(self) -> None:
        """Delete the states: the record is kept."""
        self._forget(keep=None)

    def _tried(self) -> list[Tried]:
        return [Tried.of_trial(trial) for trial in finished_trials(self._study)]

    def _path(self, index: int) -> Path:
        return self._folder / f"{self._stem}{index}.safetensors"

    def _save(self, index: int, model: Model) -> None:
        with writing(self._folder):
            self._folder.mkdir(exist_ok=True)
        write_tensors(self._path(index), dict(model_tensors(model.net, model.state)), KIND, {"phase": model.phase.index})

    def _load(self, index: int, record: Record) -> Model:
        trial = self._tried()[index]
        algorithm = self.setting.arm_rules(self.arm).chosen.build(trial.values)
        net = self.setting.build_net()
        state = initialise(algorithm, net, trial.seed, self.setting.device)
        try:
            fill_tensors(self._path(index), dict(model_tensors(net, state)))
        except DataError:  # deleted or damaged: the same training gives it back
            _, model, _ = run_once(self.setting, self.arm, trial.values, trial.seed, study=self.number)
            assert model is not None  # the record says that it ended well
            return model
        return self.setting.model(algorithm, net, state, algorithm.phases(net)[record.history[-1].phase])

    def _forget(self, *, keep: int | None) -> None:
        for path in self._folder.glob(f"{self._stem}*"):
            if keep is None or path != self._path(keep):
                path.unlink(missing_ok=True)


def _objective(record: Record, ruleset: Ruleset) -> float | None:
    """The value by which the best trial is chosen, of the state that the run ended with; None where there is none."""
    metric = ruleset.search.metric
    if metric == "validation-accuracy" or record.val_accuracy is None:
        return record.val_accuracy
    last_phase = [entry for entry in record.history if entry.phase == record.history[-1].phase]
    final = [entry for entry in last_phase if entry.improved] if ruleset.stop.restore_best else last_phase
    return final[-1].watched(metric)
