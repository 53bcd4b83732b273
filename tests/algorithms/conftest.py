"""Expensive checks of the contract run for some rules; ``make test-all`` runs them for every rule and variant."""

from __future__ import annotations

import pytest

COMPILED = ("TestBackprop", "TestMonoForward", "TestForwardForward", "TestCascadedForward", "TestFoton", "TestPepita")
"""Whose first rule is compiled, which takes two to five seconds: one of each kind of step (a sweep over the whole net, blocks by
themselves, two passes, predictors, constrained weights, a modulated pass)."""

LEARNS = "test_learns_an_easy_task"
"""Runs for the first rule of each class, on digits: its variants share its code, and all must lower their loss on a batch."""

STATE = (
    *("test_addresses_stay", "test_state_is_registered", "test_reset_is_a_fresh_start", "test_save_load_continue"),
    *("test_step_reads_nothing_but_its_arguments", "test_reset_takes_the_new_trials_hyper_parameters"),
    *("test_every_numeric_hyper_parameter_matters", "test_no_waiting_for_the_device", "test_same_seed_in_another_process"),
)
"""What is true of the state and the options of a class: for its first rule."""

FOREIGN = "foreign"
"""Blocks without closed forms: by autograd inside them a variant goes the same way as the first rule of its class."""


@pytest.hookimpl(tryfirst=True)  # before pytest deselects what is marked slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is meant above."""
    for item in items:
        if not isinstance(item, pytest.Function) or not getattr(item.cls, "rules", ()) or not hasattr(item, "callspec"):
            continue
        first = "algorithm" in item.callspec.params and item.callspec.params["algorithm"] is item.cls.rules[0]
        compiled = item.originalname == "test_compiled_equals_eager" and not (first and item.cls.__name__ in COMPILED)
        easy = item.originalname == LEARNS and not (first and item.callspec.params["task"] == "digits")
        foreign = not first and FOREIGN in item.callspec.params.values()
        if compiled or easy or foreign or (item.originalname in STATE and not first):
            item.add_marker("slow")
