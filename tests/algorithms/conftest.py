"""Expensive checks of the contract run for some rules; ``make test-all`` runs them for every rule and variant."""

from __future__ import annotations

import pytest
import torch

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

DOCSTRING = ("test_docstring_has_every_section", "test_docstring_example_runs")
"""What is true of a class, not of an instance: once."""

OF_ANOTHER = (
    *("TestSgd", "TestPepitaWithDropout", "TestPepitaWithMirroring", "TestFotonWithSquaredError"),
    *("TestBackpropOnAnOrthogonalNet", "TestBackpropOnANetKeptOrthogonal", "TestDirectRandomTargetProjection"),
    *("TestCascadedForwardRidge", "TestCascadedForwardByFeedback", "TestCascadedForwardByFeedbackForeign"),
    *("TestForwardForwardLosses", "TestForwardForwardPeers", "TestForwardForwardHead", "TestForwardForwardHard"),
    *("TestForwardForwardHybrid", "TestBlockwiseOfOneBlock", "TestDeepSupervisionBesideAnOutput"),
)
"""Variants in a class of their own, for exceptions of their own: the plain rule has a class with every kind of block."""

FOREIGN = "foreign"
"""Blocks without closed forms: by autograd inside them a variant goes the same way as the first rule of its class."""

LEAKY = "dense-leaky-relu"
"""No rule names an activation: to the code of a variant these are the dense blocks that it is checked on beside them, and their
own formulas are those of the first rule. With the closed form (CLOSED) every variant is checked on them."""

FORMATS, WIDEST = "test_dtype_is_kept_and_sums_are_wide", torch.float64
"""In float64 the two nets that it compares are the same: for the first rule. A variant's own sums show in the narrow formats."""

NO_BIAS = "dense-tanh-no-bias"
"""A variant that reads a bias where there is none fails in any step: the longest checks (LONG) need no second kind of block."""

LONG = (FORMATS, "test_loss_falls_on_one_batch", "test_locality")

CLOSED = "test_closed_form_equals_autograd"


@pytest.hookimpl(tryfirst=True)  # before pytest deselects what is marked slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is meant above."""
    for item in items:
        if not isinstance(item, pytest.Function) or not getattr(item.cls, "rules", ()) or not hasattr(item, "callspec"):
            continue
        first = "algorithm" in item.callspec.params and item.callspec.params["algorithm"] is item.cls.rules[0]
        check, params = item.originalname, list(item.callspec.params.values())
        compiled = check == "test_compiled_equals_eager" and not (first and item.cls.__name__ in COMPILED)
        easy = check == LEARNS and not (first and "digits" in params)
        if compiled or easy or (not first and (check in STATE or FOREIGN in params or (check == FORMATS and WIDEST in params))):
            item.add_marker("slow")
        plain = first and item.cls.__name__ not in OF_ANOTHER
        if not plain and (check in DOCSTRING or (LEAKY in params and check != CLOSED) or (NO_BIAS in params and check in LONG)):
            item.add_marker("slow")
