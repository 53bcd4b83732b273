"""Where a training stands, and how it gets into a checkpoint and out of it again.

The live tensors of a checkpoint are those of its last pass, even where a phase is over and the best state is to be restored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bpfree.algorithms import Phase, State
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.records import HistoryEntry, PhaseEnd
from bpfree.rulesets.stopping import EndReason, Watch
from bpfree.train import checkpoint as checkpoints
from bpfree.train.within import PassSoFar

__all__ = ["Cursor", "check_identity", "counted", "past"]


@dataclass
class Cursor:
    """What a checkpoint holds beside the tensors.

    Attributes:
        passes: over the training split so far, summed over phases.
        phase: index of the phase that comes next or has begun.
        watch: of that phase; None before its first pass.
        time_s, eval_time_s: seconds so far, and those of validation.
        ended: no pass follows.
        last_watch: of the phase before, where its cap ended it and no other phase follows: with a higher cap it goes on.
        steps, examples: so far, of whole passes.
        stops: how the phases that are over ended.
        history: every pass.
        so_far: of a pass that is under way; None between passes.
    """

    passes: int = 0
    phase: int = 0
    watch: Watch | None = None
    time_s: float = 0.0
    eval_time_s: float = 0.0
    ended: bool = False
    last_watch: Watch | None = None
    steps: int = 0
    examples: int = 0
    stops: list[PhaseEnd] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    so_far: PassSoFar | None = None

    @classmethod
    def resumed(
        cls, path: Path, net: Chain, state: State, snapshot: checkpoints.Snapshot, identity: dict[str, Any] | None
    ) -> Cursor:
        """Load a checkpoint into net, state and snapshot.

        Args:
            identity: values that must be those of the checkpoint; None checks nothing.

        Raises:
            UsageError: the checkpoint belongs to another run.
            DataError: it is damaged, or of another rule or net.
        """
        if identity is not None:
            check_identity(path, identity)
        header = checkpoints.load(path, net, state, snapshot)
        raw = header["cursor"]
        watches = {name: None if raw[name] is None else Watch(**raw[name]) for name in ("watch", "last_watch")}
        within = checkpoints.load_within(path)
        so_far = PassSoFar.of(within, net.device) if within else None
        return cls(**{**raw, **watches, "history": _history(raw), "stops": _stops(raw), "so_far": so_far})

    def save(self, path: Path, net: Chain, state: State, snapshot: checkpoints.Snapshot, identity: dict[str, Any] | None) -> None:
        """Write a checkpoint, atomically.

        Raises:
            StorageError: the file cannot be written; an older one stays whole.
        """
        watches = {name: None if watch is None else watch.to_json() for name, watch in self._watches().items()}
        raw = {**self.__dict__, **watches, "history": _plain(self.history), "stops": _plain(self.stops)}
        so_far = raw.pop("so_far")
        within = None if so_far is None else so_far.tensors()
        checkpoints.save(path, net, state, snapshot, {"cursor": raw, "identity": identity}, within)

    def end_phase(self, phase: Phase, reason: EndReason) -> None:
        """Note how a phase ended."""
        assert self.watch is not None  # it has begun
        self.stops.append(PhaseEnd(phase=phase.index, reason=reason, passes=self.watch.passes))
        self.last_watch = self.watch if reason == "cap" and phase.index + 1 == phase.count else None
        self.phase, self.watch = self.phase + 1, None

    def reopen(self) -> None:
        """Take back the end of the last phase, which its cap had brought."""
        self.watch, self.last_watch = self.last_watch, None
        self.phase, self.ended = self.phase - 1, False
        self.stops.pop()

    def _watches(self) -> dict[str, Watch | None]:
        return {"watch": self.watch, "last_watch": self.last_watch}


def past(checkpoint: Path) -> list[HistoryEntry]:
    """The passes that a checkpoint has behind it; none if there is no such file."""
    return _history(checkpoints.read_header(checkpoint)["cursor"]) if checkpoint.exists() else []


def counted(checkpoint: Path) -> tuple[int | None, int | None, list[PhaseEnd]]:
    """Steps and examples that a checkpoint has behind it, and how its phases ended; None, None and none without such a file."""
    if not checkpoint.exists():
        return None, None, []
    raw = checkpoints.read_header(checkpoint)["cursor"]
    return raw["steps"], raw["examples"], _stops(raw)


def _history(raw: dict[str, Any]) -> list[HistoryEntry]:
    return [HistoryEntry(**entry) for entry in raw["history"]]


def _stops(raw: dict[str, Any]) -> list[PhaseEnd]:
    return [PhaseEnd(**end) for end in raw["stops"]]


def _plain(parts: Sequence[HistoryEntry | PhaseEnd]) -> list[dict[str, Any]]:
    return [part.model_dump() for part in parts]


def check_identity(checkpoint: Path, identity: dict[str, Any]) -> None:
    """Refuse a checkpoint of another run; nothing is done if there is no such file.

    Raises:
        UsageError: it belongs to another run.
        DataError: it is damaged.
    """
    if checkpoint.exists():
        stored = checkpoints.read_header(checkpoint).get("identity")
        if stored is not None:
            _check(checkpoint, stored, identity)


def _check(path: Path, stored: dict[str, Any], asked: dict[str, Any]) -> None:
    for key, value in asked.items():
        if stored.get(key) != value:
            raise UsageError(
                f"the checkpoint {path} belongs to a run with {key} = {stored.get(key)!r}, this one has {value!r}; "
                "choose another file (another --out), or delete it to start again"
            )
