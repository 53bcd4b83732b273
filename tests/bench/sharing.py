"""Stand-ins for what a process of a shared comparison works with: nothing is trained, and all that is asked for is noted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from bpfree.bench import shared
from bpfree.bench.claims import Claim, Entry
from bpfree.bench.shared import Sharing
from bpfree.bench.storages import Store

ANY: Any = None


def entry(key: str, state: TrialState = TrialState.WAITING, n_lost: int = 0) -> Entry:
    return Entry(key, state, 0, {}, datetime(2026, 1, 1), None, {}, n_lost)


class Search:
    """Stands for the search of an arm."""

    def __init__(self, setting: Any, arm: Any, storage: Any, *, in_order: bool = False) -> None:
        self.setting, self.arm, self.storage, self.in_order = setting, arm, storage, in_order
        self.left, self.told, self.looked = [0, 1], [], 0

    def pending(self) -> list[int]:
        self.looked += 1
        return list(self.left)

    def ask(self, number: int) -> Any:
        return {"lr": number}

    def tell(self, tried: Any) -> None:
        self.told.append(tried)

    def tuned(self) -> Any:
        return SimpleNamespace(best={"lr": 5}, cost="cost")


@dataclass
class Tried:
    val_accuracy: float
    at_once: int = 1


class World:
    """The stand-ins of one process: all that is asked of them is noted, in order."""

    def __init__(self, *splits: int) -> None:
        self.noted: list[Any] = []
        note = self.noted.append
        self.entries: list[Entry] = []
        self.lost: Iterator[list[str]] = iter([])
        self.holds = True
        self.faster: set[str] = set()
        store = Store(ANY, "P")
        patient = lambda action: note("patient") or action()  # noqa: E731
        self.store: Any = SimpleNamespace(storage=store, patient=patient)
        self.claims: Any = SimpleNamespace(
            store=self.store,
            entries=lambda: self.entries,
            release_lost=lambda: next(self.lost),
            take=lambda each: None if each.key in self.faster else Claim(each.key, 3),
            holds=lambda claim: self.holds,
            finish=lambda claim, **attributes: note(("finish", claim.key, attributes)),
            give_back=lambda claim: note(("give back", claim.key)),
            drop=lambda claim: note(("drop", claim.key)),
            reporting=self._reporting,
        )
        self.results: Any = SimpleNamespace(
            last=None, directory=None, attributes=lambda: {"record": self.results.last}, has=lambda cell: cell == "cell 9",
            append=lambda record: note(("append", record)), keep_trace="keep",
        )  # fmt: skip
        self.observer: Any = SimpleNamespace(begin=lambda *words: note(("begin", *words)), passed="passed")
        self.settings = [setting(split) for split in splits or (0,)]
        self.arms: Any = [SimpleNamespace(label="a"), SimpleNamespace(label="b")]
        self.sharing = Sharing(
            self.settings, self.arms, self.claims, self.results, self.observer, note, lambda s: note(f"sleep {s}")
        )

    @contextmanager
    def _reporting(self, claim: Claim) -> Iterator[None]:
        self.noted.append("report")
        try:
            yield
        finally:
            self.noted.append("end")

    def heard(self) -> list[Any]:
        """What was noted since; calls of ``patient`` left out."""
        heard = [each for each in self.noted if each != "patient"]
        self.noted.clear()
        return heard


def setting(split: int) -> Any:
    under = SimpleNamespace(passes=9, trial_passes=4, trials=3, cell=lambda number: f"cell {number}")
    return SimpleNamespace(split_seed=split, device=f"device {split}", arm_rules=lambda arm: under)


def world_of(monkeypatch: pytest.MonkeyPatch) -> World:
    """A process without a GPU, whose searches are stand-ins."""
    monkeypatch.setattr(shared, "ArmSearch", Search)
    monkeypatch.setattr(shared, "unmetered", lambda here: here)
    monkeypatch.setattr(shared.torch.cuda, "is_available", lambda: False)
    return World()
