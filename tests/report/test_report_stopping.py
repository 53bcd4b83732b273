"""The auditor of stopping, pass by pass: what the ruleset allows has no flaw, one pass more or less has one."""

from __future__ import annotations

import pytest

from bpfree import rulesets
from bpfree.report.stopping import state_flaw, stopping_flaw

RULES = rulesets.load("quick").with_changes(patience=3, max_passes=8, min_delta=0.0)
RISING = [0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80]
DFA = "cascaded-forward:blocks=dfa"


def audited(runs, *phases: list[float], arm: str = "backprop", limits: dict | None = None, time_s: float = 1.0):
    """A run whose phases had these validation accuracies, and that was tested in the best state of the last."""
    template = runs.record("backprop", 0).history[0]
    history, passes = [], 0
    for index, accuracies in enumerate(phases):
        for accuracy in accuracies:
            passes += 1
            history.append(template.model_copy(update={"passes": passes, "phase": index, "val_accuracy": accuracy}))
    names = {f"phase {k}": None for k in range(len(phases))} if limits is None else limits
    changes = {"history": tuple(history), "passes": passes, "plan": {"phases": names}, "arm": arm, "time_s": time_s}
    return runs.record("backprop", 0).model_copy(update={**changes, "val_accuracy": max(phases[-1])})


@pytest.mark.parametrize(
    ("accuracies", "flaw"),
    [
        ([0.5, 0.6, 0.6, 0.6, 0.6], ""),  # three passes without improvement: patience
        ([0.5, 0.6, 0.6, 0.6, 0.6, 0.6], "training went on for 4 passes without improvement, the ruleset says 3"),
        ([0.5, 0.6, 0.6, 0.6], "training ended after 2 passes without improvement and 4 of 8 passes"),
        (RISING, ""),  # all passes
        (RISING[:7], "training ended after 0 passes without improvement and 7 of 8 passes"),
        ([*RISING, 0.9], "9 passes were run, the ruleset says at most 8"),
        ([0.6, 0.5, 0.5, 0.5, 0.7, 0.7, 0.7, 0.7], "training went on for 3 passes without improvement, and further"),
        ([0.6, 0.5, 0.5, 0.7, 0.7, 0.7, 0.7], ""),
    ],
)
def test_patience_and_cap_to_the_pass(runs, accuracies: list[float], flaw: str) -> None:
    assert stopping_flaw(audited(runs, accuracies), RULES).startswith(flaw)
    assert bool(stopping_flaw(audited(runs, accuracies), RULES)) == bool(flaw)


def test_an_improvement_must_exceed_min_delta(runs) -> None:
    rules = RULES.with_changes(min_delta=0.125)
    run = audited(runs, [0.25, 0.375, 0.375, 0.375])  # exactly min_delta: no improvement
    assert stopping_flaw(run, rules) == ""
    assert state_flaw(run, rules).startswith("the state that was tested has a validation accuracy of 37.50 %, that of the best")
    assert stopping_flaw(run, RULES) != ""
    assert state_flaw(run, RULES) == ""


def test_a_phase_that_has_nothing_more_to_do_and_a_run_out_of_time_may_end(runs) -> None:
    short = [0.5, 0.6]
    assert stopping_flaw(audited(runs, short), RULES) != ""
    assert stopping_flaw(audited(runs, short, limits={"all": 2}), RULES) == ""
    assert stopping_flaw(audited(runs, short, limits={"all": 3}), RULES) != ""
    hours = RULES.with_changes(max_hours=1.0)
    assert stopping_flaw(audited(runs, short, time_s=3600.0), hours) == ""
    assert stopping_flaw(audited(runs, short, time_s=3599.0), hours) != ""


def test_phases_share_the_passes_of_a_run(runs) -> None:
    assert stopping_flaw(audited(runs, RISING[:4], RISING[:4]), RULES) == ""
    assert stopping_flaw(audited(runs, RISING[:4], RISING[:5]), RULES).startswith("9 passes were run")
    per_phase = RULES.with_changes({"budget.per": "phase"})
    assert stopping_flaw(audited(runs, RISING, RISING), per_phase) == ""
    assert stopping_flaw(audited(runs, RISING, RISING[:5]), per_phase).startswith("training ended")
    two = {"first": None, "second": None}
    assert stopping_flaw(audited(runs, RISING[:4], limits=two), RULES) == "", "the second phase never began"
    assert stopping_flaw(audited(runs, RISING[:4], limits=two), per_phase).startswith("training ended")


def test_a_cap_for_a_single_phase_is_audited(runs) -> None:
    exception = {"arms": [DFA], "why": "a test", "phases": ["blocks"], "field": "budget.max_passes", "value": 5}
    rules = RULES.with_changes(exceptions=[exception])
    names = {"predictors": None, "blocks": None}
    assert stopping_flaw(audited(runs, RISING[:2], RISING[:5], arm=DFA, limits=names), rules) == ""
    flaw = stopping_flaw(audited(runs, RISING[:2], RISING[:6], arm=DFA, limits=names), rules)
    assert flaw == "6 passes were run in the phase blocks, the ruleset says at most 5"
