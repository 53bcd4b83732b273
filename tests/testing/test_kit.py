"""The kit itself: an honest rule passes, each broken rule is found by the check that is there for it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import broken_rules as broken
import pytest
import torch

from bpfree.algorithms import Algorithm, MonoForward
from bpfree.nets import Chain
from bpfree.testing import AlgorithmContract
from bpfree.testing.bench import RuleOnNet, blobs, fingerprint, make_batch
from bpfree.testing.docstrings import bibtex_problems, problems, sections
from bpfree.testing.guards import BrokenProtocolError, no_waiting

pytest_plugins = ["pytester"]


class Contract(AlgorithmContract):
    """Not collected (its name does not begin with Test): its checks are called here."""

    def run(self, check: str, algorithm: Algorithm, tmp_path: Path) -> None:
        offered: dict[str, Any] = {
            "algorithm": algorithm,
            "block_kind": "dense",
            "closed_kind": "dense",
            "dtype": torch.bfloat16,
            "task": "blobs",
            "tmp_path": tmp_path,
        }
        method = getattr(self, check)
        method(**{name: offered[name] for name in inspect.signature(method).parameters})


FOUND_BY = [
    (broken.WrongFormula, "test_closed_form_equals_autograd"),
    (broken.SumNotMean, "test_ragged_batch_keeps_mean_semantics"),
    (broken.FirstExampleCountsTwice, "test_order_within_a_batch_does_not_matter"),
    (broken.Waits, "test_no_waiting_for_the_device"),
    (broken.WaitsByMask, "test_no_waiting_for_the_device"),
    (broken.NarrowSums, "test_dtype_is_kept_and_sums_are_wide"),
    (broken.Climbs, "test_learns_an_easy_task"),
    (broken.Climbs, "test_loss_falls_on_one_batch"),
    (broken.TorchsDice, "test_step_reads_nothing_but_its_arguments"),
    (broken.PythonRate, "test_compiled_equals_eager"),
    (broken.OtherWhenCompiled, "test_compiled_equals_eager"),
    (broken.NoisyWhenCompiled, "test_compiled_equals_eager"),
    (broken.Rebinds, "test_addresses_stay"),
    (broken.Counts, "test_step_reads_nothing_but_its_arguments"),
    (broken.CountsLate, "test_repeated_steps_are_the_steps"),
    (broken.Unregistered, "test_state_is_registered"),
    (broken.Unregistered, "test_save_load_continue"),
    (broken.Unregistered, "test_reset_is_a_fresh_start"),
    (broken.Peeks, "test_locality"),
    (broken.SaysLocal, "test_locality"),
    (broken.SaysNotLocal, "test_locality"),
    (broken.SaysNoHeads, "test_traits_are_honest"),
    (broken.Keeps, "test_memory_and_depth"),
    (broken.Graph, "test_no_backprop"),
    (broken.HashSeed, "test_same_seed_in_another_process"),
    (broken.BatchScores, "test_scores_of_an_example_do_not_depend_on_its_company"),
    (broken.Forgets, "test_every_numeric_hyper_parameter_matters"),
    (broken.TakesOnce, "test_reset_takes_the_new_trials_hyper_parameters"),
    (broken.Honest, "test_golden_trajectory"),  # it has none
    (broken.Honest, "test_docstring_has_every_section"),
]


@pytest.mark.parametrize(("rule", "check"), FOUND_BY, ids=lambda each: getattr(each, "__name__", each))
def test_a_broken_rule_is_found(rule: type[Algorithm], check: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        Contract().run(check, rule(), tmp_path)


@pytest.mark.parametrize("check", sorted({check for rule, check in FOUND_BY if rule is not broken.Honest}))
def test_an_honest_rule_passes(check: str, tmp_path: Path) -> None:
    Contract().run(check, broken.Honest(), tmp_path)


def test_a_gradient_that_is_zero_is_no_difference(tmp_path: Path) -> None:
    """Its rounding is another one in the compiled step, which Adam makes as long as any other."""
    Contract().run("test_compiled_equals_eager", broken.ConstantColumn(), tmp_path)


def test_a_fixed_random_matrix_may_be_read(tmp_path: Path) -> None:
    """It is copied like what is learned: the draws of two number formats are not compared."""
    contract = Contract()
    contract.test_dtype_is_kept_and_sums_are_wide(broken.RandomRead(), "dense", torch.float32)


class Theorem(Contract):
    def __init__(self, *widths: int) -> None:
        self.widths = widths

    def backprop_twin(self) -> Chain:
        return self.make_net(widths=self.widths)


def test_a_false_theorem_is_found(tmp_path: Path) -> None:
    """Mono-Forward with one block is backprop; with two, or with a wrong formula, it is not."""
    check = "test_equals_backprop_where_theory_says_so"
    Theorem(9).run(check, broken.Honest(), tmp_path)
    for theorem, rule in ((Theorem(9, 7), broken.Honest()), (Theorem(9), broken.WrongFormula())):
        with pytest.raises(AssertionError, match="not close"):
            theorem.run(check, rule, tmp_path)


def test_an_exception_must_name_a_check_and_a_reason() -> None:
    with pytest.raises(TypeError, match="no check"):
        type("Wrong", (AlgorithmContract,), {"exceptions": {"test_loyalty": "why not"}})
    with pytest.raises(TypeError, match="no reason"):
        type("Mute", (AlgorithmContract,), {"exceptions": {"test_locality": " "}})


def test_a_contributor_subclasses_and_names_exceptions(pytester: pytest.Pytester) -> None:
    """Rules or a fixture ``algorithm`` are named; an exception must fail, or it is an error; naming no rule is one too."""
    pytester.makepyfile(
        """
        import pytest
        from bpfree.algorithms import Backprop
        from bpfree.testing import AlgorithmContract

        class TestNeeded(AlgorithmContract):
            exceptions = {"test_golden_trajectory": "there is none"}
            rules = (Backprop(), Backprop(lr=0.5))

        class TestNotNeeded(AlgorithmContract):
            exceptions = {"test_phases_are_well_formed": "I was too lazy to look"}
            @pytest.fixture
            def algorithm(self):
                return Backprop()

        class TestNoRule(AlgorithmContract):
            pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "golden or phases", "-rA")
    result.assert_outcomes(xfailed=2, passed=2, failed=2, errors=2)
    result.stdout.fnmatch_lines(["*I was too lazy to look*"])
    result.stdout.fnmatch_lines(["*TestNoRule names no rule to check*"])


def test_a_missing_pytest_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import bpfree.testing

    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pytest"):
        bpfree.testing.__getattr__("AlgorithmContract")


def test_batches_of_the_bench_are_always_the_same() -> None:
    first, again = make_batch(6, index=3), make_batch(6, index=3)
    assert torch.equal(first.x, again.x) and torch.equal(first.y, again.y)
    assert not torch.equal(first.x, make_batch(6, index=4).x)
    assert set(make_batch(200).y.tolist()) == {0, 1, 2, 3}


def test_blobs_differ_where_a_label_would_be_painted_over_them() -> None:
    batch = next(blobs().batches("train", 300))
    means = torch.stack([batch.x[batch.y == k].mean(0) for k in range(4)])
    assert means[:, 4:].abs().max() < 0.5
    assert (means[:, :4].argmax(1) == torch.arange(4)).all()
    assert means[:, :4].diagonal().min() > 1.0


def test_fingerprints_see_every_bit() -> None:
    bench = RuleOnNet.start(MonoForward(), Contract().make_net())
    before = fingerprint(bench.tensors())
    assert fingerprint(bench.copy().tensors()) == before
    weight = bench.net[0].linear.weight.detach().view(-1)
    weight[0] = torch.nextafter(weight[0], torch.tensor(9.0))
    assert fingerprint(bench.tensors()) != before


def test_a_copied_bench_keeps_its_shared_head() -> None:
    copied = RuleOnNet.start(MonoForward(), Contract().make_net()).copy()
    assert copied.state.slot(2).projection is copied.net.output.weight


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: float(x[0]),
        lambda x: bool(x[0] > 0),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
        lambda x: x.masked_select(x > 0),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
    ],
)
def test_the_guard_sees_what_waits(wait) -> None:
    with pytest.raises(BrokenProtocolError, match="waits for the device"), no_waiting():
        wait(torch.ones(3))


def test_the_guard_lets_pass_what_does_not_wait() -> None:
    x = torch.ones(3, 3)
    with no_waiting():
        torch.where(x > 0, x, 0.0)
        x[torch.tensor([0, 2])]
        x.masked_fill(x > 0, 2.0)


GOOD = """Backprop: the chain rule.

Idea
----
One.

References
----------
@article{key,
  title = {A {B}},
  author = {C},
  year = {1986}
}
"""


def test_sections_are_found_by_their_underlines() -> None:
    assert list(sections(GOOD)) == ["Idea", "References"]
    assert sections(GOOD)["Idea"] == "One."


def test_problems_are_named() -> None:
    class Rule(MonoForward):
        __doc__ = GOOD

    found = " | ".join(problems(Rule))
    for words in ("'Update' is missing", "hyper-parameter 'lr'", "numbered", "no doctest"):
        assert words in found


def test_a_rule_without_a_paper_says_so_in_place_of_bibtex() -> None:
    module = inspect.getmodule(MonoForward)
    assert module is not None and module.__doc__ is not None
    text = module.__doc__.partition("@article")[0]
    annotations = {"__annotations__": MonoForward.__annotations__}
    silent = problems(type("Rule", (MonoForward,), {"__doc__": text, **annotations}))
    assert silent == [
        "the section 'References' is empty",
        "'References' has no BibTeX entry (@article{key, ... } with the brackets at line ends); or write: There is no paper.",
    ]
    unpublished = re.sub(r"^1\. The last.*?^Defaults", "None.\n\nDefaults", text, flags=re.MULTILINE | re.DOTALL)
    assert problems(type("Rule", (MonoForward,), {"__doc__": unpublished + "There is no paper.\n", **annotations})) == []


def test_problems_of_defaults_are_named() -> None:
    module = inspect.getmodule(MonoForward)
    assert module is not None and module.__doc__ is not None
    text = module.__doc__.replace("lr = 4.7e-4   ", "lr = 1e-4   ").replace("readout = last", "readout last")
    rule = type("Rule", (MonoForward,), {"__doc__": text, "__annotations__": MonoForward.__annotations__})
    found = problems(rule)
    assert any("lr = 1e-4, but the field's default is 0.00047" in line for line in found)
    assert any("does not say readout = last" in line for line in found)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("nothing", "no BibTeX"),
        ("@article{key,\n  title = {A},\n  author = {B}\n}", "no year"),
        ("@article{key,\n  title = {A,\n  author = {B},\n  year = 1\n}", "unbalanced"),
    ],
)
def test_bibtex_is_read(body: str, problem: str) -> None:
    assert any(problem in line for line in bibtex_problems(body))
