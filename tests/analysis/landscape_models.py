"""Small models in float64, and examples, for tests of the landscape."""

from __future__ import annotations

import torch
from torch import Tensor

from bpfree.algorithms import Backprop, make
from bpfree.analysis import Material, Surface
from bpfree.models import Model
from bpfree.nets import Chain, mlp
from bpfree.testing.bench import RuleOnNet
from bpfree.train import initialise

N_IN, N_CLASSES = 6, 3


def material(n: int = 40, seed: int = 0) -> Material:
    """Normal examples and random labels, float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, N_IN, generator=generator, dtype=torch.float64)
    y = torch.randint(0, N_CLASSES, (n,), generator=generator)
    return Material(x, y, torch.randn(30, N_IN, generator=generator, dtype=torch.float64))


def small_net(widths: tuple[int, ...] = (5, 4), activation: str = "relu") -> Chain:
    """Of dense blocks, float64."""
    return mlp(N_IN, widths, N_CLASSES, activation).double()


def trained(arm: str, net: Chain | None = None) -> Model:
    """A rule (``name:key=value``) after a few steps."""
    name, *pairs = arm.split(":")
    bench = RuleOnNet.start(make(name, dict(pair.split("=") for pair in pairs)), net or small_net())
    bench.all_phases([16, 16, 5])
    bench.net.eval()
    return Model(bench.algorithm, bench.net, bench.state, bench.last_phase)


def drawn(net: Chain, seed: int = 0) -> Model:
    """A net as backprop draws it, with larger weights, so that its scores are of some size."""
    rule = Backprop()
    state = initialise(rule, net, seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    net.eval()
    return Model(rule, net, state, rule.phases(net)[0])


def surface_of(net: Chain, examples: Material | None = None) -> Surface:
    """The surface around :func:`drawn`."""
    return Surface(drawn(net), examples or material())


def slope(surface: Surface, vector: Tensor, direction: Tensor, step: float = 1e-6) -> float:
    """Of the loss along a direction, by central differences."""
    return (surface.loss(vector + step * direction) - surface.loss(vector - step * direction)) / (2 * step)
