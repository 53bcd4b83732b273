"""Cascaded-Forward with cached features: the same predictors as without, resumption, cost, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from bpfree import Patience, fit, training
from bpfree.algorithms import Algorithm, CascadedForward, Phase
from bpfree.bench.cost import step_cost
from bpfree.data import Dataset, load
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock, mlp
from bpfree.train import FitResult, features, initialise, read_by

VARIANTS = [
    {},
    {"predictor": "sparsemax", "predictors": "staged", "combine": "logits"},
    {"predictor": "ridge"},
    {"blocks": "dfa", "block_passes": 1},
]


def digits() -> Dataset:
    return load("digits").limited(300)


def conv_net() -> Chain:
    """Convolution with BatchNorm (its statistics are gathered before the features are), then a dense block."""
    first = ConvBlock((1, 8, 8), 4, pool="max", norm=True)
    return Chain([first, DenseBlock(first.out_shape, 16)], 10)


def trained(variant: dict[str, object], *, cache: bool, net: Chain | None = None) -> FitResult:
    rule = CascadedForward(cache_features=cache, **variant)
    return fit(rule, net or conv_net(), digits(), Patience(10, max_passes=6), batch_size=64)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: ",".join(map(str, variant.values())) or "default")
def test_cached_features_give_the_same_predictors(variant: dict[str, object]) -> None:
    plain, cached = trained(variant, cache=False), trained(variant, cache=True)
    assert [entry.val_accuracy for entry in cached.history] == [entry.val_accuracy for entry in plain.history]
    torch.testing.assert_close(cached.state.state_dict(), plain.state.state_dict(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cached.net.state_dict(), plain.net.state_dict(), rtol=0, atol=0)


def test_the_blocks_run_once_for_every_example(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = features.frozen_features
    monkeypatch.setattr(features, "frozen_features", lambda net, x, n: seen.append(len(x)) or original(net, x, n))
    data = digits().without_test()
    trained({}, cache=True, net=mlp(data.in_shape, (32, 16), 10))
    assert sum(seen) == data.n("train") + data.n("validation")


def test_a_dense_net_whose_features_are_as_many_as_its_inputs() -> None:
    """The rule must not guess from a shape whether it is given examples or features: 64 inputs, 40 + 24 features."""
    net, twin = (mlp((64,), (40, 24), 10) for _ in range(2))
    data = digits()
    flat = {split: dataclasses.replace(examples, x=examples.x.flatten(1)) for split, examples in data.splits.items()}
    table = dataclasses.replace(data, in_shape=(64,), splits=flat, normalisation=None)
    results = [
        fit(CascadedForward(cache_features=cache), some, table, Patience(5, max_passes=3))
        for some, cache in ((net, True), (twin, False))
    ]
    assert results[0].val_accuracy == results[1].val_accuracy


def test_training_resumes_within_a_cached_phase(tmp_path: Path) -> None:
    def run(passes: int, checkpoint: Path) -> list[float | None]:
        steps = training(
            CascadedForward(cache_features=True), conv_net(), digits(), Patience(10, max_passes=5), checkpoint=checkpoint
        )
        return [progress.val_accuracy for _, progress in zip(range(passes), steps, strict=False)]

    whole = run(5, tmp_path / "whole.safetensors")
    first = run(3, tmp_path / "parts.safetensors")
    assert first + run(2, tmp_path / "parts.safetensors") == whole


def test_the_cache_is_counted() -> None:
    data = digits().without_test()
    net = mlp(data.in_shape, (32, 16), 10)

    def cost(rule: Algorithm) -> tuple[int, int, int]:
        found = step_cost(rule, net, initialise(rule, net, 0), data, 64)
        assert found.flops.train_step is not None
        assert found.memory.feature_cache is not None
        return found.flops.train_step, found.memory.feature_cache, found.peak_bytes

    flops, cache_bytes, peak_bytes = cost(CascadedForward(cache_features=True))
    flops_plain, no_cache, peak_plain = cost(CascadedForward())
    assert cache_bytes == (data.n("train") + data.n("validation")) * 48 * 4
    assert no_cache == 0
    assert peak_bytes - peak_plain > 0.9 * cache_bytes
    assert flops_plain - flops == 2 * 64 * (64 * 32 + 32 * 16)  # the blocks' forward pass


def test_cached_features_are_counted_once_for_each_phase() -> None:
    """By hand: 180 training digits in batches of 60; blocks 64-32-16; staged predictors of 32 and of 48 features."""
    data = load("digits").limited(180).without_test()
    net = mlp(data.in_shape, (32, 16), 10)
    rule = CascadedForward(cache_features=True, predictors="staged")
    cost = step_cost(rule, net, initialise(rule, net, 0), data, 60)
    first, second = 2 * 180 * 64 * 32, 2 * 180 * (64 * 32 + 32 * 16)
    phases = rule.phases(net)
    assert [phase.frozen for phase in phases] == [1, 2]
    assert cost.features_by_phase == (first, second)
    steps = sum(3 * 3 * flops for flops in cost.by_phase)
    assert cost.run_flops({0: 3, 1: 3}, 18, 6 * 180) == steps + first + second
    assert cost.run_flops({0: 3}, 9, 3 * 180) == 3 * 3 * cost.by_phase[0] + first


def test_augmented_examples_are_refused() -> None:
    data = dataclasses.replace(digits(), augmentation="crop-flip")
    with pytest.raises(UsageError, match=r"digits\[300\]: crop-flip.*cache_features=false"):
        features.cached_features(mlp(data.in_shape, (8,), 10), data, 1)


def test_too_little_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Memory:
        available: int = 1000

    monkeypatch.setattr(features.psutil, "virtual_memory", Memory)
    with pytest.raises(UsageError, match=r"features of digits.* take .*are free; set cache_features=false"):
        features.cached_features(mlp((1, 8, 8), (8,), 10), digits(), 1)


def test_by_default_a_phase_reads_the_data_as_they_are() -> None:
    rule, net, data = CascadedForward(), mlp((1, 8, 8), (8,), 10), digits()
    phase: Phase = rule.phases(net)[-1]
    inputs, reader = read_by(net, data, phase)
    assert inputs is data
    assert reader is phase
