"""Why the phases of a run ended: as the training loop recorded it, or for records of version 1 replayed from the history."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpfree.records import HistoryEntry, PhaseEnd, Record
from bpfree.rulesets import EndReason, Ruleset, Watch, end_reason
from bpfree.rulesets.stopping import phase_cap

__all__ = ["END_WORDS", "end_of_run", "ends_in_words", "run_ends", "with_ends"]

END_WORDS: dict[EndReason, str] = {
    "hours": "cut by the clock",
    "cap": "at the cap",
    "patience": "by patience",
    "itself": "by itself",
    "diverged": "diverged",
}
"""How a run ended. Of several phases the first of these counts: more passes might have helped that phase."""


@dataclass(frozen=True)
class _Phase:
    """What the stop rule asks of a phase."""

    index: int
    count: int
    name: str
    max_passes: int | None


def with_ends(run: Record, ruleset: Ruleset) -> Record:
    """The record with why its phases ended; a phase of which it cannot be told is left out."""
    return run if run.stops else run.model_copy(update={"stops": list(_replayed(run, ruleset))})


def _replayed(run: Record, ruleset: Ruleset) -> Iterator[PhaseEnd]:
    limits = run.plan.get("phases")
    names = list(limits) if isinstance(limits, dict) else []
    used = 0
    for index, group in itertools.groupby(run.history, key=lambda entry: entry.phase):
        entries = list(group)
        name = names[index] if index < len(names) else ""
        most = limits.get(name) if isinstance(limits, dict) else None
        phase = _Phase(index, max(len(names), index + 1), name, most if isinstance(most, int) else None)
        reason = _reason(run, entries, phase, used, ruleset)
        used += len(entries)
        if reason is not None:
            yield PhaseEnd(phase=index, reason=reason, passes=len(entries))


def _reason(run: Record, entries: Sequence[HistoryEntry], phase: _Phase, used: int, ruleset: Ruleset) -> EndReason | None:
    stop = ruleset.patience(run.arm, run.dataset, run.net, phase.name or None)
    watch = Watch(cap=phase_cap(stop, used, phase))
    for entry in entries:
        watch.see(entry.watched(stop.metric), stop)
    last = entries[-1]
    return end_reason(watch, stop, phase, time_s=last.time_s, diverged=last.train_loss is None)


def end_of_run(run: Record) -> EndReason | None:
    """How a run ended as a whole, see :data:`END_WORDS`; None where it cannot be told."""
    reasons = {end.reason for end in run.stops}
    return next((reason for reason in END_WORDS if reason in reasons), None)


def run_ends(runs: Sequence[Record]) -> Counter[EndReason]:
    """How many of the finished runs ended in which way."""
    counts: Counter[EndReason] = Counter()
    for run in runs:
        end = end_of_run(run) if run.status == "ok" else None
        if end is not None:
            counts[end] += 1
    return counts


def ends_in_words(runs: Sequence[Record]) -> str:
    """``"ended at the cap: 2 of 5, by patience: 3 of 5"``; empty where it cannot be told."""
    counts, n = run_ends(runs), sum(run.status == "ok" for run in runs)
    counted = [f"{words}: {counts[end]} of {n}" for end, words in END_WORDS.items() if counts[end]]
    return f"ended {', '.join(counted)}" if counted else ""
