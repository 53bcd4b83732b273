"""The cost model of a suite, against multiply-adds that are counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpfree import rulesets
from bpfree.bench import Arm
from bpfree.bench import suites as of_package
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.suite_choice import choose
from bpfree.bench.suites.sizes import Size
from bpfree.cli import run
from bpfree.planning import cells
from bpfree.planning.cells import cells_of, followed, machine_flops_per_second, search_and_run_macs

SIZE = Size((3, 8, 8), 10, n_train=100, n_validation=20, n_test=30)


def under(arm: str, net: str, **changes: object) -> ArmRules:
    rules = rulesets.load("quick").with_changes(
        {"batch_size": 10, "max_passes": 4, "trials": 5, "passes_per_trial": None, **changes}
    )
    return ArmRules(rules, Arm.parse(arm), "digits", net)


def resnet_macs(channels: int, edge: int) -> list[int]:
    """Of one example, by layer: the convolution, then three residual blocks, of which two halve the edge and project."""
    layers = [3 * channels * 9 * edge**2, 2 * channels * channels * 9 * edge**2]
    for _ in range(2):
        edge, before, channels = edge // 2, channels, 2 * channels
        layers.append((before * 9 + channels * 9 + before) * channels * edge**2)
    return layers


def vit_macs(edge: int, patch: int, width: int) -> list[int]:
    """Of one example, by block: a block's four maps and two of its inner layer of twice the width, and attention."""
    tokens = (edge // patch) ** 2
    block = tokens * (4 * width**2 + 2 * 2 * width**2) + 2 * tokens**2 * width
    return [tokens * 3 * patch**2 * width + block, block]


def test_a_step_of_backprop_on_a_residual_net_is_three_forward_passes_less_the_gradient_of_the_images() -> None:
    first, *others = resnet_macs(2, 8)
    output = 8 * 10
    work = followed(Arm.parse("backprop"), "resnet8:2", SIZE, 10)
    assert work.phases[0].step.macs == 10 * (2 * first + 3 * (sum(others) + output))
    assert work.scoring.macs == SIZE.n_validation * (first + sum(others) + output)


def test_a_step_of_mono_forward_on_a_transformer_has_a_head_on_every_block() -> None:
    """Every product has two gradients, but for the images; attention's scores are made again on the way back."""
    net = "vit:depth=2:width=8:patch=4:heads=2"
    work = followed(Arm.parse("mono-forward"), net, SIZE, 10)
    first, second = vit_macs(8, 4, 8)
    heads = 2 * 8 * 10
    assert work.scoring.macs == SIZE.n_validation * (first + second + 8 * 10)
    images, scores = 4 * 48 * 8, 4 * 4 * 8
    assert work.phases[0].step.macs == 10 * (3 * (first + second + heads) - images + 2 * scores)


def test_a_cell_is_its_steps_its_validations_and_its_test() -> None:
    """100 examples in steps of 10, 4 passes with a validation of 20 each, a test of 30; a trial is a run without a test."""
    rules = under("backprop", "mlp:1x7")
    work = followed(rules.arm, rules.net, SIZE, 10)
    forward = 192 * 7 + 7 * 10
    step = 10 * (2 * 192 * 7 + 3 * 7 * 10)
    assert work.phases[0].step.macs == step
    training = 4 * (10 * step + 20 * forward)
    assert search_and_run_macs(rules, SIZE, work) == (training, training + 30 * forward)


def test_a_phase_that_learns_from_stored_features_pays_for_them_once() -> None:
    rules = under("cascaded-forward:cache_features=true", "mlp:2x7", **{"budget.per": "phase"})
    work = followed(rules.arm, rules.net, SIZE, 10)
    features = 120 * (192 * 7 + 7 * 7)  # of training and validation, by both random blocks
    assert [phase.features.macs for phase in work.phases] == [features]
    longer = under("cascaded-forward:cache_features=true", "mlp:2x7", **{"max_passes": 8, "budget.per": "phase"})
    four, eight = (search_and_run_macs(each, SIZE, work) for each in (rules, longer))
    assert four is not None
    assert eight is not None
    assert 2 * four[0] - eight[0] == features
    assert four[1] - four[0] == 30 * (work.scoring.macs or 0) / 20


def test_large_states_are_counted_and_not_allocated() -> None:
    """Four heads on maps of 224 x 224 with a thousand classes: more than this machine has."""
    size = Size((3, 224, 224), 1000, 1000, 100, 100)
    work = followed(Arm.parse("mono-forward"), "resnet8:16", size, 4)
    weights = 1000 * (2 * 16 * 224**2 + 32 * 112**2 + 64)
    assert work.memory.optimiser > 2 * 4 * weights  # two moments of every head
    assert work.memory.peak > 16 * 10**9


def test_hours_are_flops_over_speed_or_the_cap_on_a_run() -> None:
    chosen = choose(of_package.load("imagenet-plan"), dataset_names=("imagenet-64",), arms=("spatial-goodness",))
    chosen.check()
    (cost,) = cells_of(chosen, 1e13).arms
    assert (cost.trials, cost.runs, cost.cells) == (8, 3, 11)
    assert cost.macs is not None
    assert cost.hours == pytest.approx(2 * cost.macs / 1e13 / 3600)
    capped = choose(of_package.load("imagenet-plan"), dataset_names=("imagenet-64",), arms=("spatial-goodness",), max_hours=0.05)
    assert cells_of(capped, 1e13).hours == pytest.approx(11 * 0.05)


def test_the_speed_of_this_machine_is_that_of_a_step_of_backprop(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 9.0, 10.0, 12.0, 20.0, 25.0])  # the first step does not count, the quickest of the others does
    monkeypatch.setattr(cells.time, "perf_counter", lambda: next(now))
    step = 2 * (2 * 192 * 7 + 3 * 7 * 10)
    assert machine_flops_per_second("mlp:1x7", SIZE) == 2 * step / 2.0


def test_the_plan_for_imagenet_is_printed_without_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", "imagenet-plan", "--dry-run", "--datasets", "imagenet-64", "--arms", "spatial-goodness"]
    assert run([*words, "--flops-per-second", "1e13", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    (arm,) = plan["arms"]
    assert plan["cells"] == arm["cells"] == 11
    assert plan["macs"] == arm["macs"] > 1e16
    assert plan["hours"] == pytest.approx(2 * plan["macs"] / 1e13 / 3600)
    assert arm["peak_bytes"] > 10**8
    assert "imagenet-64 is a folder of images of 64 x 64" in plan["absent_data"]
    assert plan["not_run"] == []
    assert list(tmp_path.iterdir()) == []
