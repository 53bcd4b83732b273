"""What people hand to training: number formats, modes of torch, objects of other kinds. It works, or one line says the cure."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bpfree.algorithms import Backprop, MonoForward, make, names
from bpfree.data import Dataset
from bpfree.errors import UnknownNameError, UsageError
from bpfree.models import Model, load
from bpfree.nets import Chain, from_module, mlp
from bpfree.testing.bench import blobs
from bpfree.train import FitResult, Patience, evaluate, fit, initialise, training

ONCE = Patience(None, 2)
NO_BFLOAT16 = ("foton", "pepita")
"""They take the difference of two nearly equal activities, and refuse bfloat16 with that reason."""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return blobs(120).without_test()


def a_net(data: Dataset, dtype: torch.dtype = torch.float32) -> Chain:
    return mlp(data.in_shape, (8, 6), data.n_classes).to(dtype)


def by_autograd() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4))


@contextlib.contextmanager
def default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def fitted(rule: str, net: Chain, data: Dataset) -> FitResult:
    return fit(make(rule), net, data, Patience(None, max(2, len(make(rule).phases(net)))))


def same(one: FitResult, other: FitResult) -> None:
    assert one.status == other.status == "ok"
    assert [entry.val_accuracy for entry in one.history] == [entry.val_accuracy for entry in other.history]
    for mine, theirs in zip(one.net.parameters(), other.net.parameters(), strict=True):
        assert mine.dtype == theirs.dtype and torch.equal(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rule", names())
def test_a_net_of_another_format_trains_on_ordinary_data(rule: str, dtype: torch.dtype, data: Dataset) -> None:
    """As on data that were given in the format of the net by hand."""
    if dtype == torch.bfloat16 and rule in NO_BFLOAT16:
        with pytest.raises(UsageError, match="bfloat16, in which the difference of two nearly equal activities cancels"):
            fitted(rule, a_net(data, dtype), data)
        return
    ours = fitted(rule, a_net(data, dtype), data)
    assert ours.net.dtype == dtype
    same(ours, fitted(rule, a_net(data, dtype), data.to("cpu", dtype)))
    phase = ours.algorithm.phases(ours.net)[-1]
    assert evaluate(ours.algorithm, ours.net, ours.state, data, "validation", phase).accuracy == ours.val_accuracy


@pytest.mark.parametrize("rule", names())
def test_with_float64_as_torchs_default(rule: str, data: Dataset) -> None:
    with default(torch.float64):
        ours, narrow = fitted(rule, a_net(data, torch.float64), data), fitted(rule, a_net(data), data)
    same(ours, fitted(rule, a_net(data, torch.float64), data))
    same(narrow, fitted(rule, a_net(data), data))


def test_data_made_with_float64_as_torchs_default_are_the_same() -> None:
    with default(torch.float64):
        ours = blobs(60)
    assert ours.dtype == torch.float32
    assert ours.data_digest == blobs(60).data_digest


@pytest.mark.parametrize(
    ("asked", "format_of_net"),
    [(torch.float64, torch.float32), (torch.bfloat16, torch.float32), (torch.float16, torch.float64)],
)
@pytest.mark.parametrize("rule", names())
def test_a_format_that_was_asked_for_the_data_is_not_dropped(
    rule: str, asked: torch.dtype, format_of_net: torch.dtype, data: Dataset
) -> None:
    theirs, ours = str(format_of_net).removeprefix("torch."), str(asked).removeprefix("torch.")
    with pytest.raises(UsageError, match=f"gives batches of {ours} and the net is {theirs}; use data.to"):
        fitted(rule, a_net(data, format_of_net), data.to("cpu", asked))


@pytest.mark.parametrize("rule", names())
@pytest.mark.parametrize("of_data", [torch.float32, torch.float16])
def test_half_precision_is_refused_with_the_reason(rule: str, of_data: torch.dtype, data: Dataset) -> None:
    with pytest.raises(UsageError, match=r"block 0 .DenseBlock.: linear.weight is float16.*loss scaling.*net.bfloat16"):
        fitted(rule, a_net(data, torch.float16), data.to("cpu", of_data))


BROKEN: dict[str, tuple[Callable[[Chain], object], str]] = {
    "one block": (lambda net: net[1].double(), "block 1 .DenseBlock.: linear.weight is float64 and the output is float32"),
    "output": (lambda net: net.output.double(), "block 0 .DenseBlock.: linear.weight is float32 and the output is float64"),
    "meta": (lambda net: net.to("meta"), "block 0 .DenseBlock.: linear.weight is on the meta device, which holds no values"),
    "complex": (lambda net: net.to(torch.complex64), "is complex64; a net is trained in float32, float64, bfloat16"),
    "frozen": (lambda net: net[0].requires_grad_(False), "block 0 .DenseBlock.: linear.weight is frozen"),
    "frozen bias": (lambda net: net.output.bias.requires_grad_(False), "the output: bias is frozen"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("rule", names())
def test_parameters_that_cannot_learn_alike_are_refused(rule: str, what: str, data: Dataset) -> None:
    breaks, words = BROKEN[what]
    net = a_net(data)
    with pytest.warns(UserWarning, match="complex") if what == "complex" else contextlib.nullcontext():
        breaks(net)
    with pytest.raises(UsageError, match=words):
        fitted(rule, net, data)


@pytest.mark.parametrize("rule", ["backprop", "mono-forward", "forward-forward", "deep-supervision", "cascaded-forward"])
def test_inference_mode_around_fit_changes_nothing(rule: str, data: Dataset) -> None:
    torch.manual_seed(0)
    net, other = (from_module(by_autograd(), (16,)) for _ in range(2))
    with torch.inference_mode():
        ours = fitted(rule, net, data)
        assert torch.is_inference_mode_enabled()
    same(ours, fitted(rule, other, data))
    assert not any(tensor.is_inference() for tensor in [*ours.net.parameters(), *ours.state.state_dict().values()])


def test_data_of_inference_mode_can_be_learned_from(data: Dataset) -> None:
    with torch.inference_mode():
        theirs = blobs(120).without_test()
    same(fitted("backprop", a_net(data), theirs), fitted("backprop", a_net(data), data))


def test_a_net_of_inference_mode_is_refused(data: Dataset) -> None:
    with torch.inference_mode():
        net = a_net(data)
    with pytest.raises(UsageError, match=r"linear.weight was made under torch.inference_mode.*build the net outside"):
        fitted("backprop", net, data)


@pytest.mark.parametrize(
    ("mode", "words"),
    [(torch.inference_mode, "within torch.inference_mode"), (lambda: torch.autocast("cpu", torch.bfloat16), "torch.autocast")],
)
def test_modes_in_which_rules_would_differ_are_refused(mode: Callable[[], Any], words: str, data: Dataset) -> None:
    with mode(), pytest.raises(UsageError, match=words):
        next(training(Backprop(), a_net(data), data, ONCE))
    with mode(), pytest.raises(UsageError, match=words):
        initialise(Backprop(), a_net(data), 0)


def test_autocast_around_fit_is_refused(data: Dataset) -> None:
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(UsageError, match="rounded and others not"):
        fitted("backprop", a_net(data), data)


def test_a_trained_net_of_float64_predicts(data: Dataset) -> None:
    result = fitted("mono-forward", a_net(data, torch.float64), data)
    model = Model(result.algorithm, result.net, result.state, result.algorithm.phases(result.net)[-1])
    stored = data.splits["validation"]
    right = model.predict(stored.x) == stored.y
    assert float(right.double().mean()) == result.val_accuracy


def argument(place: int, value: object) -> Callable[[Chain, Dataset], list[object]]:
    """The arguments of fit, one of them another."""

    def arguments(net: Chain, data: Dataset) -> list[object]:
        right: list[object] = [Backprop(), net, data, ONCE]
        right[place] = value
        return right

    return arguments


FITTED = SimpleNamespace(net=mlp(16, (8,), 4))
"""As a result or a model: it has a net."""

X, Y = torch.randn(12, 16), torch.arange(12) % 4


class Examples(torch.utils.data.Dataset[Any]):
    """A data set of torch with no tensors to take out."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (argument(0, "mono-forward"), "algorithm must be a learning rule, got 'mono-forward'; use bpfree.algorithms.make('mo"),
        (argument(0, MonoForward), "got the class MonoForward; use an instance: MonoForward()"),
        (argument(0, nn.Linear(2, 2)), "got a Linear; use fit(algorithm, net, data, stop) takes the rule first"),
        (argument(0, torch.optim.SGD([X.requires_grad_()], lr=1.0)), "got a SGD; use bpfree.algorithms.Backprop(lr=1e-3)"),
        (argument(1, by_autograd()), "net must be a bpfree.nets.Chain, got a Sequential; split it into blocks first: bpfree.ne"),
        (argument(1, nn.GRU(2, 2)), "got a GRU; split it into blocks first: bpfree.nets.from_module(net, data.in_shape, stages"),
        (argument(1, "mlp:2x8"), "got 'mlp:2x8'; bpfree.nets.build('mlp:2x8', data.in_shape, data.n_classes)"),
        (argument(1, FITTED), "got a SimpleNamespace; give its net: .net"),
        (argument(1, None), "got None; build one with bpfree.nets.mlp("),
        (argument(2, TensorDataset(X, Y)), "data must be a bpfree Dataset, got a TensorDataset; bpfree.data.from_arrays(*data"),
        (argument(2, DataLoader(TensorDataset(X, Y))), "a loader needs a second one, which ends training"),
        (argument(2, Examples()), "got an Examples; stack its examples"),
        (argument(2, np.zeros((4, 2))), "got a ndarray; make one of arrays: bpfree.data.from_arrays(x, y)"),
        (argument(2, (X, Y)), "got a tuple; make one of arrays"),
        (argument(2, "digits"), "got 'digits'; bpfree.data.load('digits')"),
        (argument(3, 40), "stop must be a bpfree.Patience, got 40; use bpfree.Patience(10, max_passes=40)"),
        (argument(3, "early"), "stop must be a bpfree.Patience, got 'early'"),
    ],
)  # fmt: skip
def test_an_object_of_another_kind_is_answered_with_the_cure(
    arguments: Callable[[Chain, Dataset], Any], words: str, data: Dataset
) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        fit(*arguments(a_net(data), data))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=re.escape(words)):
        next(training(*arguments(a_net(data), data)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 3}, "unknown option of fit 'epochs'"),
        ({"batchsize": 3}, "unknown option of fit 'batchsize'; did you mean batch_size"),
        ({"lr_schedule": "cosin"}, "unknown lr_schedule 'cosin'; did you mean cosine"),
        ({"batch_size": "64"}, "batch_size must be a whole number from 1 up, got '64'"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 up, got 0"),
        ({"seed": -1}, "seed must be a whole number from 0 up, got -1"),
        ({"seed": 0.5}, "seed must be a whole number from 0 up, got 0.5"),
        ({"meter": "cpu"}, "meter must be a bpfree.meter.Meter, got 'cpu'; use bpfree.meter.Meter.detect('cpu')"),
    ],
)  # fmt: skip
def test_an_option_that_fit_does_not_have_or_take(options: dict[str, Any], words: str, data: Dataset) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        fit(Backprop(), a_net(data), data, ONCE, **options)


@pytest.mark.parametrize("named", [str, Path], ids=["text", "path"])
def test_a_checkpoint_may_be_named_in_any_way(named: Callable[[Path], Any], data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    for passes in (1, 2):
        result = fit(Backprop(), a_net(data), data, Patience(None, passes), batch_size=32, checkpoint=named(path))
        assert result.passes == passes
    assert path.is_file()


@pytest.mark.parametrize(
    ("checkpoint", "words"), [(3, "got 3; use pathlib.Path"), (".", "got the directory .; name a file in it")]
)
def test_what_cannot_be_a_checkpoint_is_refused(checkpoint: Any, words: str, data: Dataset) -> None:
    for run in (fit, lambda *arguments, **options: list(training(*arguments, **options))):
        with pytest.raises(UsageError, match=f"checkpoint must be the path of a file, {re.escape(words)}"):
            run(Backprop(), a_net(data), data, ONCE, batch_size=32, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("make_one", "words"),
    [
        (lambda: MonoForward(learning_rate=1.0), "unknown hyper-parameter of mono-forward 'learning_rate'"),  # pyright: ignore
        (lambda: MonoForward(schedul="joint"), "did you mean schedule"),  # pyright: ignore
        (lambda: Backprop(0.01), "Backprop takes its hyper-parameters by name, got 0.01; write Backprop(lr=1e-3)"),  # pyright: ignore
        (lambda: mlp(16, 8, 4), "widths must hold the width of each hidden block, such as (256, 256), got 8"),  # pyright: ignore
        (lambda: mlp(16, "8", 4), "got '8'"),  # pyright: ignore
        (lambda: mlp(np.zeros((4, 16)), (8,), 4), "inputs must be a number, or the shape of one example, got a nd"),  # pyright: ignore
        (lambda: initialise(Backprop(), by_autograd(), 0), "got a Sequential; split it into blocks first"),  # pyright: ignore
        (lambda: initialise("backprop", mlp(16, (8,), 4), 0), "algorithm must be a learning rule, got 'backprop'"),  # pyright: ignore
    ],
)  # fmt: skip
def test_rules_and_nets_that_are_made_wrongly(make_one: Callable[[], Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        make_one()
    assert "\n" not in str(caught.value)


def test_rules_are_copied_and_pickled_as_before() -> None:
    rule = MonoForward(lr=0.02, schedule="staged")
    assert pickle.loads(pickle.dumps(rule)) == copy.deepcopy(rule) == dataclasses.replace(rule, lr=0.02) == rule


def test_a_loaded_model_wants_a_net_of_its_kind(data: Dataset, tmp_path: Path) -> None:
    path = fitted("backprop", from_module(by_autograd(), (16,)), data).save(tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=r"net must be a bpfree.nets.Chain, got a Sequential; use bpfree.nets.from_module"):
        load(path, net=by_autograd())  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=r"takes \(16,\) and has 4 classes, and the net given takes \(16,\) and has 3"):
        load(path, net=mlp(16, (8, 6), 3))
    predicted = load(path, net=from_module(by_autograd(), (16,))).predict(np.zeros((2, 16)))
    assert predicted.shape == (2,)


def test_names_that_are_near_are_offered_by_type() -> None:
    with pytest.raises(UnknownNameError):
        fit(Backprop(), mlp(16, (8,), 4), blobs(60), ONCE, seeds=3)
