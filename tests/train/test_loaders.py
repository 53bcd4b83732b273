"""Loaders in place of a resident data set: the same training bit for bit, and what is no loader in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from bpfree.algorithms import Backprop, CascadedForward, MonoForward, make, names
from bpfree.data import Dataset, TestSplitError, from_loaders, load_any
from bpfree.errors import BpfreeError, DataError, UsageError
from bpfree.models import load
from bpfree.nets import Chain, from_module, mlp
from bpfree.testing.bench import blobs
from bpfree.train import FitResult, Patience, compiling, fit, initialise, training
from tests.patched import replace_learn

SIZE = 48


@pytest.fixture(scope="module")
def data() -> Dataset:
    """88 training and 16 validation examples of four classes."""
    return blobs(120).without_test()


class AsResident:
    """The batches of a resident data set; the first reading is the one that counts them."""

    def __init__(self, data: Dataset, split: str) -> None:
        self.data, self.split, self.read = data, split, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        train = self.split == "train"
        batches = self.data.batches(self.split, SIZE if train else 500, pass_index=max(0, self.read - 1), shuffle=train)
        self.read += 1
        return ((batch.x, batch.y) for batch in batches)


def values(result: FitResult) -> list[Tensor]:
    return [*result.net.state_dict().values(), *result.state.state_dict().values()]


def seen(result: FitResult) -> list[dict[str, Any]]:
    timed = {"time_s", "eval_time_s", "joules"}
    return [entry.model_dump(exclude=timed) for entry in result.history]


def check_equal(ours: FitResult, theirs: FitResult) -> None:
    assert seen(ours) == seen(theirs)
    assert (ours.status, ours.val_accuracy, ours.health) == (theirs.status, theirs.val_accuracy, theirs.health)
    for one, other in zip(values(ours), values(theirs), strict=True):
        assert torch.equal(one, other)


def both(rule: Any, net: Callable[[], Chain], data: Dataset, stop: Patience) -> tuple[FitResult, FitResult]:
    loaders = AsResident(data, "train"), AsResident(data, "validation")
    ours = fit(rule, net(), loaders[0], stop, validation=loaders[1])
    return ours, fit(rule, net(), data, stop, batch_size=SIZE)


def table(*widths: int) -> Callable[[], Chain]:
    return lambda: mlp((16,), widths, 4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", [name for name in names() if name not in ("frozen", "cascaded-forward")])
def test_trained_as_with_resident_examples_bit_for_bit(rule: str, data: Dataset) -> None:
    check_equal(*both(make(rule), table(16, 16), data, Patience(None, 2, metric="validation-loss")))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", ["frozen", "cascaded-forward"])
def test_rules_that_would_cache_features_read_examples(rule: str, data: Dataset) -> None:
    examples = make(rule, {"cache_features": False})
    check_equal(*both(examples, table(8, 6), data, Patience(None, 2)))
    if rule == "frozen":
        loader = AsResident(data, "train")
        cached = fit(make(rule), table(8, 6)(), loader, Patience(None, 2), validation=AsResident(data, "validation"))
        check_equal(cached, both(examples, table(8, 6), data, Patience(None, 2))[1])


@pytest.mark.filterwarnings("ignore")
def test_features_that_a_rule_must_cache_are_refused(data: Dataset) -> None:
    rule = CascadedForward(cache_features=True)
    with pytest.raises(UsageError, match=r"features of loader cannot be cached.*set cache_features=false"):
        both(rule, table(8, 6), data, Patience(None, 4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", ["backprop", "mono-forward"])
def test_modules_that_draw_and_normalise_are_trained_alike(rule: str, data: Dataset) -> None:
    """Drawing within a loader must not move what dropout draws."""

    def net() -> Chain:
        torch.manual_seed(3)
        layers = [nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 6), nn.LayerNorm(6), nn.GELU()]
        return from_module(nn.Sequential(*layers, nn.Linear(6, 4)), (16,))

    ours, theirs = both(make(rule), net, data, Patience(None, 2))
    check_equal(ours, theirs)
    batches = [(batch.x, batch.y) for batch in data.batches("train", SIZE, shuffle=False)]

    class Draws:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in batches:
                torch.rand(7)
                yield batch

    drawing = fit(make(rule), net(), Draws(), Patience(None, 2), validation=batches)
    check_equal(drawing, fit(make(rule), net(), batches, Patience(None, 2), validation=batches))


@pytest.mark.filterwarnings("ignore")
def test_patience_class_weights_and_other_number_formats(data: Dataset) -> None:
    check_equal(*both(Backprop(lr=0.5), table(8), data, Patience(2, 12)))
    check_equal(*both(MonoForward(lr=0.01), lambda: table(8)().double(), data, Patience(None, 2)))
    loaders = AsResident(data, "train"), AsResident(data, "validation")
    weighted = fit(Backprop(), table(8)(), from_loaders(*loaders).weighted("balanced"), Patience(None, 2))
    check_equal(weighted, fit(Backprop(), table(8)(), data.weighted("balanced"), Patience(None, 2), batch_size=SIZE))


def loader(data: Dataset, split: str = "train", **options: Any) -> DataLoader[Any]:
    examples = data.splits[split]
    return DataLoader(TensorDataset(examples.x, examples.y), batch_size=SIZE, **options)


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Those of every batch that backprop learns from; the step draws too, which must not move the loader."""
    seen: list[list[int]] = []
    learn = Backprop.learn

    def noting(self: Backprop, net: Any, state: Any, batch: Any, phase: Any) -> Tensor:
        torch.rand(3)
        seen.append(batch.y.tolist())
        return learn(self, net, state, batch, phase)

    replace_learn(monkeypatch, Backprop, noting)
    return seen


@pytest.mark.filterwarnings("ignore")
def test_a_data_loader_shuffles_by_seed_and_pass_whatever_a_rule_draws(data: Dataset, labels: list[list[int]]) -> None:
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed + len(orders))  # the caller's generator has no say
        labels.clear()
        net, state = table(8)(), torch.get_rng_state()
        fit(Backprop(), net, loader(data, shuffle=True), Patience(None, 2), validation=loader(data, "validation"), seed=seed)
        assert torch.equal(state, torch.get_rng_state())
        orders.append([list(each) for each in labels])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:2] != orders[0][2:]
    generator = torch.Generator().manual_seed(5)
    mine = loader(data, shuffle=True, generator=generator)
    expected = [y.tolist() for _, y in loader(data, shuffle=True, generator=torch.Generator().manual_seed(5))]
    labels.clear()
    fit(Backprop(), table(8)(), mine, Patience(None, 1), validation=loader(data, "validation"))
    assert labels == expected  # counting has not moved its generator


@pytest.mark.filterwarnings("ignore")
def test_the_result_predicts_evaluates_saves_and_resumes(data: Dataset, tmp_path: Path) -> None:
    train, validation = loader(data), loader(data, "validation")
    path = tmp_path / "run.safetensors"
    for passes in (1, 3):
        result = fit(Backprop(), table(8)(), train, Patience(None, passes), validation=validation, checkpoint=path)
    check_equal(result, fit(Backprop(), table(8)(), train, Patience(None, 3), validation=validation))
    assert result.evaluate("validation").accuracy == result.val_accuracy
    assert len(result.evaluate("train").correct) == 88
    x = data.splits["validation"].x
    predicted = load(result.save(tmp_path / "model.safetensors")).predict(x)
    assert np.array_equal(predicted, result.net(x).argmax(1))
    assert repr(result.data) == "Dataset(loader: train 88, validation 16; (16,), 4 classes, on cpu)"
    with pytest.raises(TestSplitError):
        result.evaluate("test")
    other = [(x, y) for x, y in train][:1]
    with pytest.raises(UsageError, match="belongs to a run with training data"):
        fit(Backprop(), table(8)(), other, Patience(None, 4), validation=validation, checkpoint=path)


@pytest.mark.filterwarnings("ignore")
def test_steps_are_compiled_for_the_batches_of_a_loader(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")  # the compiler itself takes seconds
    calls, stop = AsResident(data, "train"), Patience(None, 2)
    ours = fit(Backprop(), table(8)(), calls, stop, validation=AsResident(data, "validation"), tier="compiled")
    check_equal(ours, fit(Backprop(), table(8)(), data, stop, batch_size=SIZE, tier="compiled"))
    assert calls.read == 3  # counted once, and a pass each: compiling reads the sample


@pytest.mark.filterwarnings("ignore")
def test_the_loop_is_a_generator_with_loaders_too(data: Dataset) -> None:
    run = training(Backprop(), table(8)(), loader(data), Patience(None, 9), validation=loader(data, "validation"))
    assert [(progress.steps, progress.examples) for progress, _ in zip(run, range(2), strict=False)] == [(2, 88), (4, 176)]


@pytest.mark.filterwarnings("ignore")
def test_token_ids_come_as_they_are_and_an_embedding_learns_from_them() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Embedding(9, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.long().clamp(0, 8))

    ids = torch.randint(0, 9, (240, 5), generator=torch.Generator().manual_seed(0))
    batches = [(part, (part == 3).any(1).long()) for part in ids.split(24)]
    for rule in (Backprop(lr=0.02), MonoForward(lr=0.02)):
        net = from_module(nn.Sequential(Words(), nn.Flatten(), nn.Linear(40, 16), nn.ReLU(), nn.Linear(16, 2)), (5,))
        result = fit(rule, net, batches[2:], Patience(None, 8), validation=batches[:2])
        assert result.val_accuracy is not None and result.val_accuracy > 0.85


X, Y = torch.randn(12, 16), torch.arange(12) % 4
GOOD = [(X, Y)]


class OnlyOnce:
    """Its second reading is empty."""

    def __init__(self) -> None:
        self.batches = iter(GOOD)

    def __iter__(self) -> Iterator[Any]:
        return self.batches


class Endless(IterableDataset[Any]):
    """Gives examples one by one."""

    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, Y, strict=True))


BAD: dict[str, tuple[Any, str]] = {
    "generator": (
        (batch for batch in GOOD),
        "the training loader is a generator, which can be read only once; give a DataLoader",
    ),
    "iterator": (iter(GOOD), "is a list_iterator, which can be read only once"),
    "only once": (OnlyOnce(), "the training loader gave 0 examples in 0 batches, and 12 in 1 when they were counted"),
    "empty": (DataLoader(TensorDataset(X, Y), 64, drop_last=True), "the training loader gives no batches; .*drop_last"),
    "shapes": ([*GOOD, (X[:, :9], Y)], r"batch 1 of the training loader has examples of shape \(9,\), where .* have \(16,\)"),
    "float labels": ([(X, Y.float())], r"labels of float32; give class numbers as integers: y.long\(\)"),
    "one-hot": ([(X, torch.eye(4, dtype=torch.long)[Y])], r"y of shape \(12, 4\); give y.argmax\(1\) if it is one-hot"),
    "too large": ([*GOOD, (X, Y + 1)], "batch 1 .* has the label 4, but labels go from 0 to 3, as the net has 4"),
    "negative": ([(X, Y - 1)], "has the label -1"),
    "lengths": ([(X, Y[:5])], r"x of shape \(12, 16\) and y of shape \(5,\); give one label for each example"),
    "pixels": ([(X.byte(), Y)], r"examples of uint8, and they are taken as given; scale them in the loader: x.float\(\) / 255"),
    "nan": ([(X / 0 * 0, Y)], "NaN or infinite values"),
    "three": ([(X, Y, Y)], r"is 3 parts, not a pair \(x, y\)"),
    "mapping": (DataLoader([{"x": 1.0, "y": 1}]), r"is a dict, not a pair \(x, y\)"),  # pyright: ignore[reportArgumentType]
    "words": ([(["a"], [0])], "holds list and list, which are no tensors"),
    "examples": (Endless(), "data must be a bpfree Dataset, got an Endless"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_learned_from_is_one_line(what: str, data: Dataset) -> None:
    given, words = BAD[what]
    with pytest.raises(BpfreeError, match=words) as caught:
        fit(Backprop(), table(8)(), given, Patience(None, 2), validation=GOOD)
    assert isinstance(caught.value, ValueError) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net, data: fit(Backprop(), net, GOOD), "a loader needs a second one, which ends training"),
        (lambda net, data: next(training(Backprop(), net, GOOD, Patience(1, 1))), "a loader needs a second one"),
        (lambda net, data: fit(Backprop(), net, data, validation=GOOD), "validation is for loaders, and blobs has a validation"),
        (lambda net, data: fit(Backprop(), net, GOOD, validation=data), "the validation loader must give batches (x, y), got a"),
        (lambda net, data: fit(Backprop(), net, GOOD, validation=(X, Y)), "must give batches (x, y), got a tuple"),
        (lambda net, data: fit(Backprop(), net, GOOD, validation=GOOD, batch_size=3), "batch_size is 3, but loader gives"),
        (lambda net, data: from_loaders(GOOD, GOOD).augmented("crop-flip"), "taken as given; augment by crop-flip in the loader"),
        (
            lambda net, data: load_any(from_loaders(GOOD, GOOD)),
            "a comparison draws them, the same for every arm and seed; give arr",
        ),
        (lambda net, data: load_any(lambda: from_loaders(GOOD, GOOD)), "loader gives batches of its own"),
        (lambda net, data: from_loaders(GOOD, GOOD).limited(4), "cannot be limited to 4 examples here; give a shorter loader"),
    ],
)
def test_loaders_where_something_else_is_meant(call: Any, words: str, data: Dataset) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        call(table(8)(), data)


def test_a_net_is_built_for_loaders_as_for_data() -> None:
    loaded = from_loaders([(X.numpy(), Y.numpy().astype(np.int32))], GOOD)
    assert (loaded.in_shape, loaded.n_classes, loaded.n("train"), loaded.fixed_batch_size) == ((16,), 4, 12, 12)
    batch = next(loaded.batches("train"))
    batch.x.zero_()  # a step may write into its batch
    assert X.abs().sum() > 0
    with pytest.raises(DataError, match="has the label 3, but labels go from 0 to 2"):
        from_loaders(GOOD, GOOD, n_classes=3)
    state = initialise(Backprop(), mlp(loaded.in_shape, (8,), loaded.n_classes), 0)
    assert state.count is not None
