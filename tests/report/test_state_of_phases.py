"""The auditor of the tested state, for a run of several phases: what counts is the last one."""

from __future__ import annotations

from typing import Any

import pytest

from bpfree.report.stopping import state_flaw
from tests.report.test_report_stopping import DFA, RULES, audited


def test_the_best_state_of_the_last_phase_is_expected(runs: Any) -> None:
    run = audited(runs, [0.9, 0.5], [0.3, 0.6])  # tested at 0.6
    assert state_flaw(run, RULES) == ""
    of_the_first = run.model_copy(update={"val_accuracy": 0.9})
    assert "accuracy of 90.00 %, that of the best pass is 60.00 %" in state_flaw(of_the_first, RULES)


@pytest.mark.parametrize("last", ["predictors", "blocks"])
def test_an_exception_for_a_phase_holds_where_it_is_the_last(runs: Any, last: str) -> None:
    """Without restoring the best, the state of the last pass is expected: 0.5 of 0.7, 0.5."""
    exception = {"arms": [DFA], "why": "a test", "phases": [last], "field": "stop.restore_best", "value": False}
    run = audited(runs, [0.4], [0.7, 0.5], arm=DFA, limits={"blocks": None, "predictors": None})
    flaw = state_flaw(run, RULES.with_changes(exceptions=[exception]))
    assert flaw.endswith("that of the last pass is 50.00 %: it was chosen by something else") == (last == "predictors")
    assert bool(flaw) == (last == "predictors")


def test_a_phase_without_a_name_follows_the_common_rule(runs: Any) -> None:
    """A record of an earlier version names no phases, or only the first."""
    exception = {"arms": [DFA], "why": "a test", "phases": ["blocks"], "field": "stop.restore_best", "value": False}
    rules = RULES.with_changes(exceptions=[exception])
    for names in ({}, {"blocks": None}):
        assert state_flaw(audited(runs, [0.4], [0.7, 0.5], arm=DFA, limits=names), rules) == ""
