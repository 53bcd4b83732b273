"""Whether a run ended by the ruleset's stopping rule, and kept the state that the rule keeps: read off its history."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from bpfree.records import HistoryEntry, Record
from bpfree.rulesets import Ruleset

__all__ = ["state_flaw", "stopping_flaw"]


def stopping_flaw(run: Record, ruleset: Ruleset) -> str:
    """How the end of a finished run contradicts the ruleset, as words; empty where it does not, or where it cannot be told."""
    phases = _phases(run)
    limits = run.plan.get("phases")
    names = list(limits) if isinstance(limits, dict) else []
    for index, entries in phases.items():
        name = names[index] if index < len(names) else None
        rules = ruleset.for_arm(run.arm, run.dataset, run.net, name)
        own_cap, patience = rules.budget.per == "phase", rules.stop.patience
        cap = (rules if own_cap else ruleset.for_arm(run.arm, run.dataset, run.net)).passes(run.dataset)
        used = len(entries) if own_cap else run.passes
        if used > cap:
            return f"{used} passes were run, the ruleset says at most {cap}"
        waits = _waits(entries, rules)
        waited = max(waits)
        if patience is not None and waited > patience:
            return f"training went on for {waited} passes without improvement, the ruleset says {patience}"
        last = own_cap or index == max(phases)
        if not last or name is None or (index + 1 < len(names) and not own_cap):
            continue
        most = limits.get(name) if isinstance(limits, dict) else None
        by_itself = most is not None and len(entries) >= most
        in_time = rules.budget.max_hours is None or (run.time_s or 0.0) < 3600 * rules.budget.max_hours
        if used < cap and not by_itself and in_time and (patience is None or waits[-1] < patience):
            said = "no patience" if patience is None else f"a patience of {patience}"
            return (
                f"training ended after {waits[-1]} passes without improvement and {used} of {cap} passes, the ruleset has {said}"
            )
    return ""


def state_flaw(run: Record, ruleset: Ruleset) -> str:
    """Whether the recorded validation accuracy is that of the pass whose state the rule keeps; words, or empty."""
    phases = _phases(run)
    entries = phases[max(phases)]
    names = list(run.plan.get("phases") or {})
    name = names[max(phases)] if max(phases) < len(names) else None
    rules = ruleset.for_arm(run.arm, run.dataset, run.net, name)
    kept = [entry for entry, wait in zip(entries, _waits(entries, rules), strict=True) if wait == 0]
    pool = kept if rules.stop.restore_best else [entry for entry in entries if entry.val_accuracy is not None]
    expected = pool[-1].val_accuracy if pool else None
    if expected is None or run.val_accuracy is None or math.isclose(expected, run.val_accuracy, abs_tol=1e-9):
        return ""
    which = "best" if rules.stop.restore_best else "last"
    return (
        f"the state that was tested has a validation accuracy of {100 * run.val_accuracy:.2f} %, that of the {which} pass is "
        f"{100 * expected:.2f} %: it was chosen by something else"
    )


def _phases(run: Record) -> dict[int, list[HistoryEntry]]:
    return {index: list(entries) for index, entries in itertools.groupby(run.history, key=lambda entry: entry.phase)}


def _waits(entries: Sequence[HistoryEntry], rules: Ruleset) -> list[int]:
    """Passes without improvement after each pass, by the ruleset's metric."""
    loss = rules.stop.metric == "validation-loss"
    best, waited, found = math.nan, 0, []
    for entry in entries:
        value = entry.val_loss if loss else entry.val_accuracy
        gain = math.nan if value is None else (best - value if loss else value - best)
        if value is not None and math.isfinite(value) and (math.isnan(best) or gain > rules.stop.min_delta):
            best, waited = value, 0
        else:
            waited += 1
        found.append(waited)
    return found
