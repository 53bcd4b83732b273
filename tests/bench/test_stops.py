"""Exceptions for single phases are kept exactly, and readouts are chosen on validation where an arm can."""

from __future__ import annotations

import pytest

from bpfree import rulesets
from bpfree.algorithms import Phase
from bpfree.bench import Arm, check_supported, measure, parse_arms
from bpfree.errors import RulesetError
from bpfree.nets import build
from bpfree.rulesets import Patience, stop_in

from .test_measure import setting

SPYRA = rulesets.load("spyra2026-uniform")
LEGACY = rulesets.load("legacy-2025")
DFA = "cascaded-forward:blocks=dfa"
BLOCKS, PREDICTORS = Phase(0, 2, (0, 1), "blocks"), Phase(1, 2, (0, 1), "all predictors")


def with_exceptions(*exceptions: dict, **changes: object) -> rulesets.Ruleset:
    """The quick ruleset with exceptions for ``cascaded-forward`` with trained blocks."""
    common = {"arms": [DFA], "why": "a test", "phases": ["blocks"]}
    return rulesets.load("quick").with_changes(exceptions=[{**common, **e} for e in exceptions], **changes)


def test_an_arm_without_exceptions_for_phases_has_one_rule() -> None:
    rule = SPYRA.stop_rule("backprop", "mnist", "mlp:2x1000")
    assert rule == Patience(20, 100, metric="validation-loss", per_phase=True)


@pytest.mark.parametrize(
    ("ruleset", "dataset", "passes"), [(SPYRA, "mnist", 5), (SPYRA, "cifar10[1000]", 250), (LEGACY, "mnist", 5)]
)
def test_blocks_are_trained_for_a_number_of_passes_fixed_by_hand(ruleset: rulesets.Ruleset, dataset: str, passes: int) -> None:
    blocks = stop_in(ruleset.stop_rule(DFA, dataset, "cnn3"), BLOCKS)
    assert (blocks.patience, blocks.max_passes, blocks.per_phase) == (None, passes, True)


def test_the_predictors_stop_by_the_rule_of_the_others() -> None:
    predictors = stop_in(SPYRA.stop_rule(DFA, "mnist", "cnn3"), PREDICTORS)
    assert (predictors.patience, predictors.max_passes) == (20, 100)
    legacy = stop_in(LEGACY.stop_rule(DFA, "mnist", "cnn3"), PREDICTORS)
    assert (legacy.patience, legacy.max_passes, legacy.min_delta) == (10, 1271, 0.0005)


def test_a_cap_for_one_phase_is_its_own_and_leaves_the_rest_to_the_others() -> None:
    rules = with_exceptions({"field": "budget.max_passes", "value": 7}, max_passes=9)
    rule = rules.stop_rule(DFA, "digits", "mlp:2x16")
    assert stop_in(rule, BLOCKS).cap(0, 2) == 7
    assert stop_in(rule, PREDICTORS).cap(7, 1) == 2


def test_a_measured_run_keeps_them() -> None:
    rules = with_exceptions(
        {"field": "budget.max_passes", "value": 4}, {"field": "stop.patience", "value": None}, max_passes=6, patience=1
    )
    record = measure(setting(ruleset=rules), Arm.parse(f"{DFA}:lr=1e-30:block_lr=1e-30"), {}, 0, None)
    assert [entry.phase for entry in record.history] == [0, 0, 0, 0, 1, 1]
    assert record.plan["phases"] == {"blocks": None, "all predictors": None}
    assert record.status == "ok"


def test_a_phase_that_no_arm_has_is_refused() -> None:
    rules = with_exceptions({"field": "stop.patience", "value": 3, "phases": ["block"]})
    net = build("mlp:2x16", (64,), 10)
    check_supported(rules, parse_arms("backprop"), net)
    with pytest.raises(RulesetError, match=r"the phase block of cascaded-forward:blocks=dfa.*its phases: blocks, all predictors"):
        check_supported(rules, parse_arms(f"backprop,{DFA}"), net)


class TestReadout:
    RULES = rulesets.load("quick").with_changes(readout="best-prefix-on-validation", max_passes=2)

    def test_an_arm_that_can_lets_validation_choose(self) -> None:
        record = measure(setting(ruleset=self.RULES), Arm.parse("mono-forward"), {}, 0, None)
        assert record.params["readout"] == "best-prefix"
        assert (record.arm, record.variant) == ("mono-forward", "readout=best-prefix")

    @pytest.mark.parametrize("name", ["backprop", "deep-supervision", "forward-forward"])
    def test_an_arm_that_cannot_stays_as_it_is(self, name: str) -> None:
        arm = Arm.parse(name)
        assert arm.under(self.RULES) is arm

    def test_an_arm_that_fixes_another_is_refused(self) -> None:
        with pytest.raises(RulesetError, match="mono-forward:readout=sum fixes readout=sum; leave that out"):
            check_supported(self.RULES, parse_arms("mono-forward:readout=sum"))
        check_supported(self.RULES, parse_arms("mono-forward:readout=best-prefix"))


def test_time_and_energy_to_the_plans_target_are_in_the_record() -> None:
    rules = rulesets.load("quick").with_changes(max_passes=3, target={"digits": 0.2, "mnist": 0.9})
    record = measure(setting(ruleset=rules), Arm.parse("backprop:lr=1e-2"), {}, 0, None)
    first = next(entry for entry in record.history if (entry.val_accuracy or 0) >= 0.2)
    assert record.plan["target"] == 0.2
    assert record.time_to_target_s == first.time_s
    assert record.energy_to_target_j is None
    assert record.reasons["energy_to_target_j"] == record.reasons["energy.joules"]
    never = measure(setting(ruleset=rules.with_changes(target=1.0)), Arm.parse("backprop:lr=1e-30"), {}, 0, None)
    assert never.time_to_target_s == float("inf")
