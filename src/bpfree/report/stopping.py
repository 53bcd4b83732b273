"""Whether a run ended by the ruleset's stop rule, and was tested in the state that the rule restores: read off its history."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from bpfree.records import HistoryEntry, Record
from bpfree.rulesets import Patience, Ruleset, Watch

__all__ = ["state_flaw", "stopping_flaw"]


def stopping_flaw(run: Record, ruleset: Ruleset) -> str:
    """How the end of a finished run contradicts the ruleset, as words; empty where it does not, or where that is not known."""
    phases = _phases(run)
    limits = run.plan.get("phases")
    names = list(limits) if isinstance(limits, dict) else []
    for index, entries in phases.items():
        name = names[index] if index < len(names) else None
        stop = ruleset.patience(run.arm, run.dataset, run.net, name)
        cap = stop.max_passes
        used = len(entries) if stop.per_phase else run.passes
        if used > cap:
            return f"{used} passes were run, the ruleset says at most {cap}"
        if stop.own_cap is not None and len(entries) > stop.own_cap:
            return f"{len(entries)} passes were run in the phase {name}, the ruleset says at most {stop.own_cap}"
        waits = _waits(entries, stop)
        if stop.exhausted(max(waits[:-1], default=0)):  # a further pass, even one that improved, was one too many
            further = ", and further" if max(waits) == stop.patience else ""
            return f"training went on for {max(waits)} passes without improvement{further}, the ruleset says {stop.patience}"
        last = stop.per_phase or index == max(phases)
        if not last or name is None or (index + 1 < len(names) and not stop.per_phase):
            continue
        most = limits.get(name) if isinstance(limits, dict) else None
        complete = most is not None and len(entries) >= most
        complete = complete or (stop.own_cap is not None and len(entries) >= stop.own_cap)
        if used < cap and not complete and not stop.out_of_time(run.time_s or 0.0) and not stop.exhausted(waits[-1]):
            rule = "no patience" if stop.patience is None else f"a patience of {stop.patience}"
            return (
                f"training ended after {waits[-1]} passes without improvement and {used} of {cap} passes, the ruleset has {rule}"
            )
    return ""


def state_flaw(run: Record, ruleset: Ruleset) -> str:
    """Whether the recorded validation accuracy is that of the pass whose state the rule restores; words, or empty."""
    phases = _phases(run)
    entries = phases[max(phases)]
    names = list(run.plan.get("phases") or {})
    name = names[max(phases)] if max(phases) < len(names) else None
    stop = ruleset.patience(run.arm, run.dataset, run.net, name)
    improved = [entry for entry, wait in zip(entries, _waits(entries, stop), strict=True) if wait == 0]
    pool = improved if stop.restore_best else [entry for entry in entries if entry.val_accuracy is not None]
    expected = pool[-1].val_accuracy if pool else None
    if expected is None or run.val_accuracy is None or math.isclose(expected, run.val_accuracy, abs_tol=1e-9):
        return ""
    which = "best" if stop.restore_best else "last"
    return (
        f"the state that was tested has a validation accuracy of {100 * run.val_accuracy:.2f} %, that of the {which} pass is "
        f"{100 * expected:.2f} %: it was chosen by something else"
    )


def _phases(run: Record) -> dict[int, list[HistoryEntry]]:
    return {index: list(entries) for index, entries in itertools.groupby(run.history, key=lambda entry: entry.phase)}


def _waits(entries: Sequence[HistoryEntry], stop: Patience) -> list[int]:
    """Passes without improvement after each pass: the stop rule, replayed over the history of a phase."""
    watch, waits = Watch(cap=len(entries)), []
    for entry in entries:
        watch.see(entry.watched(stop.metric), stop)
        waits.append(watch.waited)
    return waits
