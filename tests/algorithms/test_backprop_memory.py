"""Backprop here holds no more memory than what every user of torch has: ``nn.Sequential``, autograd and a fused AdamW.

Both are measured by the same tool in the same test: bytes that were there before the step and that it uses (weights, moments,
batch), and the most that it makes on top. The parameters have the same shapes; torch's moments are there from a step before.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpfree.algorithms import Backprop, step
from bpfree.data import Batch
from bpfree.meter import LiveMemory, live_memory
from bpfree.nets import Chain, build
from bpfree.testing.bench import RuleOnNet, make_batch

DIGITS, MNIST, IMAGES = (1, 8, 8), (1, 28, 28), (3, 32, 32)

DEPTHS = ("mlp:3x256", "mlp:8x256", "mlp:32x256")

SHAPES = [
    ("mlp:2x256", DIGITS, 64),
    ("mlp:2x256", MNIST, 128),
    ("mlp:2x1000", MNIST, 128),
    ("mlp:2x1000", MNIST, 1024),
    ("mlp:4x2000", MNIST, 128),
    *((net, MNIST, n) for net in DEPTHS for n in (128, 1024)),
    ("cnn3", IMAGES, 32),
    ("mf-cnn4", IMAGES, 16),
]
"""The shapes of docs/memory-and-flops.md, of the default tables, and convolutions."""

RATE_BYTES = 4
"""Only this library keeps the learning rate as a 0-D float32; torch's is a Python number."""


def bytes_here(net: Chain, batch: Batch, **settings: object) -> LiveMemory:
    bench = RuleOnNet.start(Backprop(**settings), net)  # pyright: ignore[reportArgumentType]
    bench.step(batch)
    return live_memory(lambda: step(bench.algorithm, bench.net, bench.state, batch, bench.last_phase))


def bytes_of_torch(net: Chain, batch: Batch, *, in_sweep: bool = False) -> LiveMemory:
    module = nn.Sequential(*_flat(net.to_module()))
    assert [p.shape for p in module.parameters()] == [p.shape for p in net.parameters()]
    work = _in_sweep(module) if in_sweep else _after_sweep(module)

    def one_step() -> None:
        work(batch.x, batch.y)

    one_step()
    return live_memory(one_step)


def _flat(module: nn.Module) -> list[nn.Module]:
    return list(module) if isinstance(module, nn.Sequential) else [module]


def _after_sweep(module: nn.Module):
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.0, fused=True)

    def work(x: Tensor, y: Tensor) -> None:
        F.cross_entropy(module(x), y).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return work


def _in_sweep(module: nn.Module):
    """Each parameter is updated, and its gradient freed, as soon as autograd has it (torch's own recipe)."""
    optimisers = {p: torch.optim.AdamW([p], lr=1e-3, weight_decay=0.0, fused=True) for p in module.parameters()}

    def update(parameter: Tensor) -> None:
        optimisers[parameter].step()  # pyright: ignore[reportArgumentType]
        optimisers[parameter].zero_grad(set_to_none=True)  # pyright: ignore[reportArgumentType]

    for parameter in module.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    return lambda x, y: F.cross_entropy(module(x), y).backward()


QUICK = [("mlp:2x256", DIGITS, 64), ("mlp:3x256", MNIST, 128), ("mlp:8x256", MNIST, 128), ("cnn3", IMAGES, 32)]
"""Bytes follow from shapes alone: the larger ones, which take seconds, say it again in the slow tests."""


@pytest.mark.parametrize(
    ("net", "in_shape", "n"),
    [pytest.param(*shape, id="-".join(map(str, shape)), marks=[] if shape in QUICK else pytest.mark.slow) for shape in SHAPES],
)
@pytest.mark.parametrize("update", ["after-sweep", "in-sweep"])
def test_a_step_holds_no_more_than_torchs(net: str, in_shape: tuple[int, ...], n: int, update: str) -> None:
    built = build(net, in_shape, 10)
    batch = make_batch(n, in_shape=in_shape, n_classes=10, dtype=built.dtype)
    ours, theirs = bytes_here(built, batch, update=update), bytes_of_torch(built, batch, in_sweep=update == "in-sweep")
    assert ours.start_bytes == theirs.start_bytes + RATE_BYTES
    assert ours.start_bytes + ours.peak_bytes <= theirs.start_bytes + theirs.peak_bytes
