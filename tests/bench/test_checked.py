"""What a command is going to run, as its plan says it in every record."""

from __future__ import annotations

import dataclasses

import pytest

from bpfree import rulesets
from bpfree.bench.checked import arms_for, checked
from bpfree.errors import RulesetError

from .test_measure import setting


@pytest.mark.parametrize(
    ("name", "use", "seeds", "plan"),
    [
        ("claim", "compare", None, {"studies": [0, 1]}),
        ("claim", "train", [7], {"seeds": [7]}),
        ("quick", "compare", None, {"seeds": [0, 1, 2]}),
        ("quick", "tune", None, {"seeds": [0, 1, 2]}),
        ("quick", "train", [4], {"seeds": [4]}),
    ],
)
def test_the_plan_names_studies_or_seeds(name: str, use: str, seeds: list[int] | None, plan: dict[str, list[int]]) -> None:
    rules = rulesets.load(name).with_changes(**({"studies": 2} if name == "claim" else {"seeds": [0, 1, 2]}))
    rules, arms = arms_for(rules, use)
    here = dataclasses.replace(setting(ruleset=rules), plan={})
    ready = checked(here, arms, use, seeds)
    assert ready.setting.plan == {"arms": [arm.label for arm in arms]} | plan
    assert ready.dataset == "digits"


def test_a_control_is_an_arm_of_a_comparison_alone() -> None:
    rules = rulesets.load("quick").with_changes(control=True)
    assert sum(arm.control for arm in arms_for(rules, "compare")[1]) == 1
    assert not any(arm.control for arm in arms_for(rules, "tune")[1])


def test_an_arm_that_the_rules_cannot_run() -> None:
    old = rulesets.load("legacy-2025")
    if old.schema_version < 2:
        with pytest.raises(RulesetError):
            arms_for(old, "compare")
