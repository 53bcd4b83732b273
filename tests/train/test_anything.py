"""Property: whatever people bring, every rule trains it as the plain thing, or refuses it in one line.

Memory layouts, number formats, hooks and replaced layers, axes of the data, sets of labels and splits are drawn at random and
handed to a rule. The plain thing has the same values: contiguous weights, no hooks, data as (n, c, h, w) in float32, labels 0 to
K - 1. Two trainings are the same where they end in the same weights up to rounding, or, in bfloat16, in the same way.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from bpfree.algorithms import make, names
from bpfree.data import Dataset, from_arrays
from bpfree.errors import BpfreeError
from bpfree.nets import Chain, from_module
from bpfree.rulesets import Split
from bpfree.train import FitResult, Patience, fit

N, SHAPE, WIDTH = 60, (2, 6, 6), 8
"""Small enough that a training takes a few milliseconds."""

QUICK, LONG = 3, 40
"""Examples for each rule, in `make test` and in `make test-all`."""


@dataclass(frozen=True)
class Case:
    """What is handed in.

    Attributes:
        layout, hook: of the net, by name.
        dtype, of_data: number formats of net and data.
        kind: of the net: dense or convolution.
        array: what the examples come as. labels: what the labels come as, and which.
        split: of the examples, by name.
        n_classes: classes that the labels have.
        seed: of examples, weights and training.
    """

    layout: str
    hook: str
    dtype: torch.dtype
    of_data: torch.dtype
    kind: str
    array: str
    labels: str
    split: str
    n_classes: int
    seed: int


def _transposed(w: Tensor) -> Tensor:
    return w.t().contiguous().t() if w.dim() == 2 else w.contiguous(memory_format=torch.channels_last)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda w: w.clone(),
    "transposed": _transposed,
    "gaps": lambda w: torch.stack([w, torch.full_like(w, 7.0)], -1)[..., 0],
    "view": lambda w: torch.cat([w.reshape(-1), w.new_ones(3)])[: w.numel()].view(w.shape),
    "offset": lambda w: torch.cat([w.new_ones(1), w.reshape(-1)])[1:].view(w.shape),
}


def _looks_on(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda module, given, made: None)


def _masks(layer: nn.Module) -> None:
    """A mask of ones: the layer computes what it did, through torch's pruning."""
    prune.identity(layer, "weight")


def _on_the_gradient(layer: nn.Module) -> None:
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    weight.register_hook(lambda gradient: gradient)


HOOKS: dict[str, Callable[[nn.Module], None]] = {
    "none": lambda layer: None,
    "forward hook": _looks_on,
    "pre-hook": lambda layer: layer.register_forward_pre_hook(lambda module, given: None) and None,
    "pruned": _masks,
    "hook on the gradient": _on_the_gradient,
    "frozen": lambda layer: layer.requires_grad_(False) and None,
}
"""Each leaves what the layer computes as it is."""

ARRAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": lambda x: x,
    "torch": torch.from_numpy,
    "list": lambda x: x.tolist(),
    "float64": lambda x: x.astype(np.float64),
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "read-only": lambda x: _read_only(x.copy()),
    "transposed": lambda x: np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2),
    "channels last": lambda x: x.transpose(0, 2, 3, 1),
    "table": lambda x: x.reshape(len(x), -1),
    "turned round": lambda x: x.transpose(1, 2, 3, 0),
}
"""The same examples as people have them; with other axes they are read rightly or refused."""

SPLITS: dict[str, Split | None] = {
    "standard": None,
    "halves": Split(kind="stratified", validation=0.3, test=0.2),
    "nothing to validate": Split(kind="stratified", validation=0.001, test=0.3),
    "nothing to train": Split(kind="stratified", validation=0.4, test=0.5),
    "official": Split(kind="last", validation=10),
}
"""Splits of the examples; the last ones leave too little, or need a test set that arrays do not have."""


def _read_only(x: np.ndarray) -> np.ndarray:
    x.setflags(write=False)
    return x


LABELS: dict[str, Callable[[np.ndarray], Any]] = {
    "int64": lambda y: y,
    "uint8": lambda y: y.astype(np.uint8),
    "int32": lambda y: y.astype(np.int32),
    "torch": torch.from_numpy,
    "list": lambda y: y.tolist(),
    "floats": lambda y: y.astype(float),
    "from one": lambda y: y + 1,
    "with a gap": lambda y: np.where(y == y.max(), y + 1, y),
    "one-hot": lambda y: np.eye(int(y.max()) + 1)[y],
}
"""The same labels, and some that mean the same to people: those are read rightly or refused."""

cases = st.builds(
    Case,
    layout=st.sampled_from(list(LAYOUTS)),
    hook=st.sampled_from(["none", "none", *HOOKS]),
    dtype=st.sampled_from([torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    of_data=st.sampled_from([torch.float32, torch.float32, torch.float32, torch.float64]),
    kind=st.sampled_from(["dense", "convolution"]),
    array=st.sampled_from(list(ARRAYS)),
    labels=st.sampled_from(["int64", *LABELS]),
    split=st.sampled_from(["standard", *SPLITS]),
    n_classes=st.integers(2, 4),
    seed=st.integers(0, 3),
)


def examples(case: Case) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(case.seed)
    y = np.arange(N) % case.n_classes
    return rng.normal(size=(N, *SHAPE)).astype(np.float32) + y[:, None, None, None], y


class Inside(nn.Module):
    """A layer within a module: trained by autograd, without any hook."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def a_net(case: Case, *, plain: bool) -> Chain:
    torch.manual_seed(case.seed)
    if case.kind == "dense":
        first: nn.Module = nn.Linear(int(np.prod(SHAPE)), WIDTH)
        stages = [nn.Flatten(), first, nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, case.n_classes)]
    else:
        first = nn.Conv2d(SHAPE[0], 3, 3, padding=1)
        stages = [first, nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, WIDTH), nn.ReLU(), nn.Linear(WIDTH, case.n_classes)]
    if plain and case.hook != "none":  # by autograd as well: a block with a closed form draws other heads behind it
        stages[stages.index(first)] = Inside(first)
    net = nn.Sequential(*stages)
    if not plain:
        assert isinstance(first.weight, Tensor)
        first.weight = nn.Parameter(LAYOUTS[case.layout](first.weight.detach()))
        HOOKS[case.hook](first)
    return from_module(net.to(case.dtype), SHAPE, keep_weights=True)


def trained(rule: str, net: Chain, data: Dataset) -> FitResult:
    algorithm = make(rule)
    return fit(algorithm, net, data, Patience(None, max(1, len(algorithm.phases(net)))), batch_size=14)


def as_brought(rule: str, case: Case) -> FitResult:
    x, y = examples(case)
    data = from_arrays(ARRAYS[case.array](x), LABELS[case.labels](y), split=SPLITS[case.split], split_seed=case.seed)
    return trained(rule, a_net(case, plain=False), data.without_test().to("cpu", case.of_data))


def as_plain(rule: str, case: Case) -> FitResult:
    """The same with nothing unusual, on the data in the number format of the net."""
    data = from_arrays(*examples(case), split=SPLITS[case.split], split_seed=case.seed).without_test()
    return trained(rule, a_net(case, plain=True), data.to("cpu", case.dtype))


def values(result: FitResult) -> list[Tensor]:
    """Weights of the user's own net by name; a mask of ones is none."""
    state = result.net.to_module().state_dict()
    named = {
        name.replace("weight_orig", "weight").replace("inner.", ""): tensor
        for name, tensor in state.items()
        if not name.endswith("_mask")
    }
    return [named[name].double() for name in sorted(named)]


def check(rule: str, case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ours = as_brought(rule, case)
        except BpfreeError as refusal:
            text = str(refusal)
            assert text and "\n" not in text, f"one line, got {text!r}"
            assert ";" in text or ":" in text, f"a reason or a cure, got {text!r}"
            assert not usual(case), f"nothing is unusual in {case}, but: {text}"
            return
        assert ours.status == "ok"
        theirs = as_plain(rule, case)
    assert [entry.passes for entry in ours.history] == [entry.passes for entry in theirs.history]
    same = {torch.float64: 1e-8, torch.float32: 1e-3}.get(case.dtype)
    if same is not None:
        for one, other in zip(values(ours), values(theirs), strict=True):
            torch.testing.assert_close(one, other, atol=same, rtol=same)


def usual(case: Case) -> bool:
    """Whether every rule must train it: any layout and array of (n, c, h, w), labels 0 to K - 1, no hook, float32."""
    known = case.labels not in ("floats", "from one", "with a gap", "one-hot")
    known = known and case.array not in ("channels last", "table", "turned round") and case.split in ("standard", "halves")
    return known and case.hook == "none" and case.dtype == case.of_data == torch.float32


def a_profile(n: int) -> settings:
    return settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize="BPFREE_RANDOM" not in os.environ,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )


@pytest.mark.parametrize("rule", names())
def test_trained_as_the_plain_one_or_refused_in_one_line(rule: str) -> None:
    a_profile(QUICK)(given(case=cases)(lambda case: check(rule, case)))()


@pytest.mark.slow  # a minute and a half
@pytest.mark.parametrize("rule", names())
def test_many_more_are_trained_as_the_plain_one_or_refused(rule: str) -> None:
    a_profile(LONG)(given(case=cases)(lambda case: check(rule, case)))()


@pytest.mark.parametrize("rule", names())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_trained(rule: str, layout: str) -> None:
    """Whatever chance leaves out in the quick profile."""
    usual_one = Case(layout, "none", torch.float32, torch.float32, "convolution", "fortran", "uint8", "halves", 3, 0)
    assert usual(usual_one)
    check(rule, usual_one)
