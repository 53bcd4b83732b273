"""The loss as a function of the parameters that a read-out depends on."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from landscape_models import N_CLASSES, drawn, material, slope, small_net, surface_of, trained

from bpfree.analysis import Material, Surface
from bpfree.analysis import surface as module
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock

ARMS = {
    "backprop": ("net", {"output.weight", "output.bias"}),
    "mono-forward": ("net", {"output.weight", "output.bias"}),
    "mono-forward:schedule=staged": ("net", {"output.weight", "output.bias"}),
    "mono-forward:readout=sum": ("mono-forward", {"output.weight", "state.slots.0.projection"}),
    "forward-forward": ("forward-forward", {"state.slots.0.label_weight"}),
    "spatial-goodness": ("spatial-goodness", {"state.slots.0.projection", "state.slots.1.projection"}),
    "cascaded-forward": ("cascaded-forward", {"state.slots.0.projection", "state.slots.1.projection"}),
}
BLOCKS = {f"blocks.{k}.linear.{name}" for k in (0, 1) for name in ("weight", "bias")}
WITHOUT_GRADIENT = ("cascaded-forward",)


@pytest.mark.parametrize("arm", ARMS)
def test_moved_are_the_blocks_and_what_is_read_out(arm: str) -> None:
    """The loss is that of the model's scores; its gradient that of central differences; nothing of the model changes."""
    model, examples = trained(arm), material()
    before = copy.deepcopy(model.net.state_dict())
    surface = Surface(model, examples)
    space, read = ARMS[arm]
    assert surface.space.split()[0] == space
    assert {part.name for part in surface.parts} == BLOCKS | read
    scores = model.scores(examples.x)
    loss, accuracy = surface.loss_and_accuracy(surface.origin)
    assert loss == pytest.approx(float(F.cross_entropy(scores, examples.y)), abs=1e-12)
    assert accuracy == pytest.approx(float((scores.argmax(1) == examples.y).double().mean()))
    direction = torch.randn(surface.origin.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if arm in WITHOUT_GRADIENT:
        with pytest.raises(UsageError, match=r"does not differentiate .* through its blocks.*; ask for lines"):
            surface.gradient(surface.origin)
        with pytest.raises(UsageError, match="does not differentiate"):
            surface.hessian(surface.origin)
    else:
        expected = slope(surface, surface.origin, direction)
        assert float(surface.gradient(surface.origin) @ direction) == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.net.state_dict().items())


def test_two_rules_share_the_space_of_the_net() -> None:
    """A point of one is a point of the other; the head that Mono-Forward does not read is not moved."""
    mono, back = Surface(trained("mono-forward"), material()), Surface(trained("backprop"), material())
    assert mono.loss(back.origin) == pytest.approx(back.loss(back.origin), abs=1e-12)
    assert mono.loss(back.origin) != pytest.approx(mono.loss(mono.origin), abs=1e-6)


def test_chunks_do_not_change_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    surface = surface_of(small_net())
    v = torch.ones_like(surface.origin)
    whole = surface.loss(surface.origin), surface.gradient(surface.origin), surface.hessian(surface.origin)(v)
    monkeypatch.setattr(module, "CHUNK", 7)  # 40 examples: five of 7 and one of 5
    assert surface.loss(surface.origin) == pytest.approx(whole[0], rel=1e-13)
    torch.testing.assert_close(surface.gradient(surface.origin), whole[1], rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(surface.hessian(surface.origin)(v), whole[2], rtol=1e-10, atol=1e-13)


def conv_net() -> Chain:
    block = ConvBlock((1, 4, 4), 3, 3, "relu", norm=True)
    return Chain([block, DenseBlock(block.out_shape, 4)], N_CLASSES).double()


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(n), dtype=torch.float64) * 2 + 1


def test_statistics_of_batch_norm_are_taken_again_at_every_point() -> None:
    """By hand: mean and unbiased variance over the training examples of what enters the BatchNorm; filters have no scale."""
    net = conv_net()
    examples = Material(images(20), torch.arange(20) % N_CLASSES, images(30))
    surface = Surface(drawn(net), examples)
    assert {part.name for part in surface.parts if not part.filtered} == {
        "blocks.0.norm.weight", "blocks.0.norm.bias", "blocks.1.linear.bias", "output.bias",
    }  # fmt: skip
    other = copy.deepcopy(net)
    moved = surface.origin * 1.5
    with torch.no_grad():
        for part in surface.parts:
            other.get_parameter(part.name).copy_(part.of(moved).reshape(part.shape))
        block = other[0]
        assert isinstance(block, ConvBlock)
        assert block.norm is not None
        entering = []
        handle = block.norm.register_forward_pre_hook(lambda _, given: entering.append(given[0]))
        other(examples.train_x)
        handle.remove()
        block.norm.running_mean.copy_(entering[0].mean((0, 2, 3)))
        block.norm.running_var.copy_(entering[0].transpose(0, 1).flatten(1).var(1))
        expected = float(F.cross_entropy(other(examples.x), examples.y))
        stale = float(F.cross_entropy(net(examples.x), examples.y))
    assert surface.loss(moved) == pytest.approx(expected, rel=1e-9)
    assert surface.loss(surface.origin) != pytest.approx(stale, rel=1e-3)  # the model's own statistics were never taken


def test_the_gradient_holds_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against differences of a surface whose statistics stay as they were taken at the point."""
    surface = Surface(drawn(conv_net()), Material(images(20), torch.arange(20) % N_CLASSES, images(30)))
    gradient = surface.gradient(surface.origin)
    monkeypatch.setattr(Surface, "_take_statistics", lambda self: None)
    direction = torch.randn(surface.origin.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(gradient @ direction) == pytest.approx(slope(surface, surface.origin, direction), rel=1e-5)
