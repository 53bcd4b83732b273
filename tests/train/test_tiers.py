"""The tiers: on a GPU a recorded step is the eager step, bit for bit; what a device does not have is refused."""

from __future__ import annotations

import pytest
import torch

from bpfree import algorithms, data, nets
from bpfree.bench.arm import Arm
from bpfree.errors import UsageError
from bpfree.rulesets import Patience
from bpfree.train import TIERS, check_tier, initialise, training

ARMS = (
    *("backprop", "mono-forward", "mono-forward:schedule=staged", "frozen", "deep-supervision", "blockwise:reach=2"),
    *("forward-forward", "cascaded-forward", "cascaded-forward:blocks=dfa", "foton", "pepita", "direct-feedback-alignment"),
)


def trained(arm: str, net_name: str, device: str, tier: str) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and all tensors after two passes (each of four full batches and a smaller one) for each phase."""
    images = data.load("synthetic:n=300:inputs=3x16x16").augmented("crop-flip").to(device)
    rule = Arm.parse(arm).build({})
    net = nets.build(net_name, images.in_shape, images.n_classes)
    n_phases = len(rule.phases(net))
    state = initialise(rule, net, 0, device)
    stop = Patience(None, max_passes=2 * n_phases, restore_best=False)
    losses = [each.train_loss for each in training(rule, net, images.without_test(), stop, batch_size=48, state=state, tier=tier)]
    return losses, {name: tensor.cpu() for name, tensor in algorithms.named_tensors(net, state)}


@pytest.mark.gpu
@pytest.mark.parametrize("net", ["mlp:3x64", "cnn3"])
@pytest.mark.parametrize("arm", ARMS)
def test_a_recorded_training_is_the_eager_one(arm: str, net: str) -> None:
    try:
        losses, tensors = trained(arm, net, "cuda", "eager")
    except UsageError as refused:
        pytest.skip(f"the rule does not train this net: {refused}")
    recorded_losses, recorded = trained(arm, net, "cuda", "graph")
    exact = net != "cnn3"  # cuDNN may choose another algorithm for a convolution each time
    for name, tensor in tensors.items():
        torch.testing.assert_close(recorded[name], tensor, rtol=0 if exact else 1e-3, atol=0 if exact else 1e-3)
    assert recorded_losses == (losses if exact else pytest.approx(losses, rel=1e-3))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_graphs_need_a_gpu(device: str) -> None:
    with pytest.raises(UsageError, match=rf"^tier graph records CUDA graphs, and the device is {device}; use --tier eager"):
        check_tier("graph", torch.device(device))


def test_an_unknown_tier() -> None:
    with pytest.raises(UsageError, match=r"^unknown tier 'fast'; choose from eager, compiled, graph$"):
        check_tier("fast", torch.device("cpu"))


def test_every_other_tier_runs_anywhere() -> None:
    for tier in set(TIERS) - {"graph"}:
        check_tier(tier, torch.device("cpu"))
