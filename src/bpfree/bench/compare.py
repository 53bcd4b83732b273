"""The main job: tune every arm under one ruleset, train it on fresh seeds with the arms interleaved, meter each run.

A cell (arm, data set, net, seed) is run once. The process may die at any time: the journal and the records are the state, and
the same command goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bpfree.bench.arm import Arm
from bpfree.bench.directory import RunDirectory
from bpfree.bench.measure import Setting
from bpfree.bench.runs import measure_into
from bpfree.bench.study import Tuned, open_storage, search
from bpfree.bench.tuned import TunedRow
from bpfree.records import Record
from bpfree.train import Progress

__all__ = ["Comparison", "Observer", "SilentObserver"]


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
    """Nobody."""

    def begin(self, stage: str, n_passes: int) -> None:
        """Nothing."""

    def passed(self, progress: Progress) -> None:
        """Nothing."""

    def end(self, line: str) -> None:
        """Nothing."""


@dataclass
class Comparison:
    """Arms, seeds and a setting, to be run in an opened directory."""

    setting: Setting
    arms: Sequence[Arm]
    seeds: Sequence[int]
    directory: RunDirectory
    observer: Observer

    def n_passes(self) -> int:
        """Upper bound on the passes that are still to be run, for the time left."""
        rules, name = self.setting.ruleset, self.setting.data.name
        return len(self.arms) * (rules.search.trials * rules.trial_passes(name) + len(self.seeds) * rules.passes(name))

    def run(self) -> list[Record]:
        """Search, then measure, whatever is not there yet; returns all records of the directory.

        Raises:
            KeyboardInterrupt: after the interrupted run has been recorded as such.
        """
        tuned = self.tune()
        self.directory.add_tuned([TunedRow.model_validate(result.row) for result in tuned.values()])
        for arm, seed in self._cells():
            self._measure(arm, seed, tuned[arm.label])
        return self.directory.records()

    def tune(self) -> dict[str, Tuned]:
        """The search of every arm, one after another."""
        storage = open_storage(self.directory.journal_path)
        tuned: dict[str, Tuned] = {}
        for arm in self.arms:
            rules = self.setting.ruleset.for_arm(arm.label, self.setting.data.name, self.setting.net)
            passes = rules.trial_passes(self.setting.data.name)
            self.observer.begin(f"search {arm.label}", rules.search.trials * passes)
            tuned[arm.label] = search(self.setting, arm, storage, on_pass=self.observer.passed)
            best = ", ".join(f"{key} {value:.3g}" for key, value in tuned[arm.label].best.items())
            line = f"search {arm.label}: {best}, validation accuracy {tuned[arm.label].best_val_accuracy:.4f}"
            self.directory.log(line)
            self.observer.end(line)
        return tuned

    def _cells(self) -> Iterator[tuple[Arm, int]]:
        """Every cell that is not finished: seeds outside, arms inside, each seed starting with another arm.

        Interleaving spreads what drifts (clocks, temperature, other load) over the arms.
        """
        name, net = self.setting.data.name, self.setting.net
        done = self.directory.finished()
        for turn, seed in enumerate(self.seeds):
            for k in range(len(self.arms)):
                arm = self.arms[(turn + k) % len(self.arms)]
                if (arm.label, name, net, seed) not in done:
                    yield arm, seed

    def _measure(self, arm: Arm, seed: int, tuned: Tuned) -> None:
        rules = self.setting.ruleset.for_arm(arm.label, self.setting.data.name, self.setting.net)
        self.observer.begin(f"{arm.label}, seed {seed}", rules.passes(self.setting.data.name))
        record = measure_into(self.directory, self.setting, arm, tuned.best, seed, tuned.cost, on_pass=self.observer.passed)
        line = f"{arm.label}, seed {seed}: {_outcome(record)}"
        self.directory.log(line)
        self.observer.end(line)


def _outcome(record: Record) -> str:
    if record.test_accuracy is None:
        return f"{record.status} ({record.reasons['status']})"
    return f"test accuracy {record.test_accuracy:.4f} after {record.passes} passes in {record.time_s:.2f} s"
