"""What a user's module may do that a block cannot: return a tuple, raise, change with the mode. One line each, with the cause."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bpfree.algorithms import make, names
from bpfree.errors import UsageError
from bpfree.nets import ModuleBlock, from_module
from bpfree.testing.bench import RuleOnNet

ANY_BLOCK = [
    name for name in names() if name not in ("feedback-alignment", "forward-forward", "foton", "pepita", "sign-symmetry")
]
"""Rules that train a table by a block around any module; the others refuse it by name."""

BY_GRADIENT = [name for name in ANY_BLOCK if name not in ("cascaded-forward", "frozen")]
"""Of them, those that run the block in training mode: the other two leave their blocks as they were drawn."""


class Computes(nn.Module):
    """A parameter, and any function of the module and its input."""

    def __init__(self, function: Callable[[Computes, Tensor], object]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def raises(error: Exception) -> Callable[[Computes, Tensor], object]:
    def function(module: Computes, x: Tensor) -> object:
        raise error

    return function


FLAT = [nn.Flatten(), nn.Linear(30, 4)]


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([nn.GRU(8, 6, batch_first=True), *FLAT], r"its GRU, stage 1 of 2, returns a tuple.*return self.inner\(x\)\[0\]"),
        ([nn.GRU(8, 6, batch_first=True), nn.BatchNorm1d(5), *FLAT], r"its GRU, stage 1 of 3, returns a tuple"),
        ([nn.LSTM(8, 6, batch_first=True), nn.ReLU(), *FLAT], r"its LSTM, stage 1 of 3, returns a tuple"),
        ([nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 4)], r"block 0 \(0 LSTM\) returns a tuple.*return self.inner\(x\)\[0\]"),
        ([nn.MultiheadAttention(8, 2), nn.Linear(8, 4)], r"return self.inner\(x, x, x\)\[0\] \(batch_first=True\)"),
        ([nn.Linear(8, 6), nn.MultiheadAttention(6, 2), *FLAT], r"block 1 \(1 Multihead.*self.inner\(x, x, x\)\[0\]"),
        ([nn.Linear(8, 6), nn.AdaptiveMaxPool1d(6, return_indices=True), *FLAT], r"AdaptiveMaxPool1d, stage 2 of 3, returns"),
    ],
)  # fmt: skip
def test_a_stage_that_returns_a_tuple_is_named_with_its_wrapper(stages: list[nn.Module], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        from_module(nn.Sequential(*stages), (5, 8))
    assert "\n" not in str(caught.value)


def test_the_wrapper_that_the_message_names_is_one_that_works() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.GRU(8, 6, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)[0]

    assert from_module(nn.Sequential(First(), *FLAT), (5, 8))[0].out_shape == (30,)


@pytest.mark.parametrize(
    "error", [AttributeError("no 'foo'"), KeyError("aux"), ZeroDivisionError(), StopIteration(), OSError("x"), Exception("a\nb")]
)
@pytest.mark.parametrize("behind", [[], [nn.ReLU()]])
def test_whatever_a_forward_raises_is_one_line_with_its_cause(error: Exception, behind: list[nn.Module]) -> None:
    with pytest.raises(UsageError, match=rf"^block 0 \(0 Computes.*{type(error).__name__}") as caught:
        from_module(nn.Sequential(Computes(raises(error)), *behind, nn.Linear(8, 4)), (8,))
    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)


def test_memory_that_ran_out_is_no_fault_of_the_module() -> None:
    with pytest.raises(MemoryError):
        ModuleBlock((8,), Computes(raises(MemoryError("too much"))))
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        ModuleBlock((8,), Computes(lambda _, x: torch.empty(10**15)))


def _raises_in_training(module: Computes, x: Tensor) -> object:
    if module.training:
        raise KeyError("aux")
    return x * module.weight


IN_TRAINING: dict[str, tuple[Callable[[Computes, Tensor], object], str]] = {
    "raises": (_raises_in_training, "block 0 .0 Computes. raised KeyError: 'aux'"),
    "tuple": (lambda m, x: (x * m.weight, x) if m.training else x * m.weight, "returns a tuple, not a tensor; wrap it"),
    "shape": (
        lambda m, x: (x * m.weight)[:, :3] if m.training else x * m.weight,
        r"returns \(\d+, 3\) for \d+ examples in training, but \(8,\) per example in its dry run",
    ),
}


@pytest.mark.parametrize("kind", IN_TRAINING)
@pytest.mark.parametrize("rule", BY_GRADIENT)
def test_what_a_forward_does_in_training_alone_is_one_line_too(rule: str, kind: str) -> None:
    function, words = IN_TRAINING[kind]
    chain = from_module(nn.Sequential(Computes(function), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), (8,))
    bench = RuleOnNet.start(make(rule), chain)
    with pytest.raises(UsageError, match=words):
        bench.all_phases([6])


@pytest.mark.parametrize("rule", ANY_BLOCK)
def test_a_module_that_behaves_trains(rule: str) -> None:
    net = nn.Sequential(Computes(lambda m, x: x * m.weight), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    bench = RuleOnNet.start(make(rule), from_module(net, (8,)))
    assert all(loss.isfinite().all() for loss in bench.all_phases([6]))


def not_finite(net: nn.Sequential) -> nn.Sequential:
    next(net[2].parameters()).data[0, 0] = float("nan")
    return net


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (not_finite, "'2.weight' with NaN or infinite values; give it finite ones"),
        (lambda net: net.to("meta"), "'0.weight' on the meta device, which holds no values; call to_empty"),
        (lambda net: net.to(torch.complex64), "'0.weight' of torch.complex64; rules train real numbers"),
    ],
    ids=["nan", "meta", "complex"],
)
def test_parameters_that_no_rule_can_train_are_one_line(change: Callable[[nn.Sequential], nn.Sequential], words: str) -> None:
    net = change(nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2)))
    for make_one in (lambda: from_module(net, (4,)), lambda: ModuleBlock((4,), net)):
        with pytest.raises(UsageError, match=f"has a parameter {words}"):
            make_one()
