"""What every check of a learning rule works with: small nets, batches without chance, copies, fingerprints.

Nothing here needs pytest. All numbers are drawn from :mod:`bpfree.numerics.streams`, so that a check asks the same of a rule
on every machine and under every version of torch.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bpfree.algorithms import Algorithm, Phase, State, check_net, step
from bpfree.data import Batch, Dataset, from_arrays
from bpfree.nets import Block, Chain, DenseBlock
from bpfree.numerics.streams import integers, normal, stream_key

__all__ = ["BLOCK_KINDS", "BlockMaker", "ForeignBlock", "RuleOnNet", "blobs", "chain", "fingerprint", "make_batch", "tensors_of"]

BlockMaker = Callable[[tuple[int, ...], int], Block]
"""(shape of one example, width) to a block."""

IN_SHAPE = (3, 4)
WIDTHS = (9, 7, 8)
N_CLASSES = 4


class ForeignBlock(Block):
    """A block type without a closed form: a rule must fall back to autograd inside it.

    a = swish(x Wᵀ + b) ⊙ s, with a parameter s of another shape than W's rows would suggest.
    """

    def __init__(self, in_shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.in_shape, self.out_shape = tuple(in_shape), (width,)
        self.linear = nn.Linear(torch.Size(in_shape).numel(), width)
        self.scale = nn.Parameter(torch.ones(1, width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, *in_shape) to (n, width)."""
        return nn.functional.silu(self.linear(x.flatten(1))) * self.scale

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Normal weights of variance 2 / fan_in, so that the activity keeps its size."""
        nn.init.normal_(self.linear.weight, std=(2.0 / self.linear.in_features) ** 0.5, generator=generator)
        nn.init.zeros_(self.linear.bias)
        nn.init.ones_(self.scale)


BLOCK_KINDS: Mapping[str, BlockMaker] = {
    "dense": DenseBlock,
    "dense-tanh-no-bias": lambda shape, width: DenseBlock(shape, width, "tanh", bias=False),
    "dense-leaky-relu": lambda shape, width: DenseBlock(shape, width, "leaky-relu"),
    "foreign": ForeignBlock,
}
"""Kinds of blocks that a rule is checked on; a contributor may name others (``AlgorithmContract.block_kinds``)."""


def chain(maker: BlockMaker, in_shape: tuple[int, ...], widths: Sequence[int], n_classes: int) -> Chain:
    """A chain of blocks of one kind."""
    blocks = []
    for width in widths:
        blocks.append(maker(in_shape, width))
        in_shape = blocks[-1].out_shape
    return Chain(blocks, n_classes)


def make_batch(
    n: int,
    *,
    index: int = 0,
    in_shape: tuple[int, ...] = IN_SHAPE,
    n_classes: int = N_CLASSES,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """A batch without structure: normal inputs, uniform labels."""
    key = torch.tensor(stream_key(2026, 0, index))
    x = normal(key, (n, *in_shape), salt=1, dtype=torch.float64).to(dtype)
    return Batch(x, integers(key, (n,), n_classes, salt=2), key)


def blobs(n: int = 480, n_inputs: int = 16, n_classes: int = 4) -> Dataset:
    """An easy task: well separated normal clusters, whose centres differ in the first ``n_classes`` inputs alone.

    (A rule that paints a label over the first inputs of a table loses what they say, and fails.)
    """
    key = torch.tensor(stream_key(2026, 1))
    y = torch.arange(n) % n_classes
    centres = torch.zeros(n_classes, n_inputs, dtype=torch.float64)
    centres[:, :n_classes] = 9.0 * torch.eye(n_classes, dtype=torch.float64)
    x = centres[y] + normal(key, (n, n_inputs), salt=4, dtype=torch.float64)
    return from_arrays(x.float(), y, name="blobs")


def tensors_of(net: nn.Module, state: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of net and state, by name, detached but not copied."""
    return {
        f"{prefix}.{name}": tensor.detach()
        for prefix, module in (("net", net), ("state", state))
        for name, tensor in module.state_dict(keep_vars=True).items()
    }


@dataclass
class RuleOnNet:
    """A rule at work on a net: what a check steps, copies and looks into."""

    algorithm: Algorithm
    net: Chain
    state: State

    @classmethod
    def start(cls, algorithm: Algorithm, net: Chain, *, seed: int = 0) -> RuleOnNet:
        """On a copy of ``net``, freshly initialised from ``seed``."""
        net = copy.deepcopy(net)
        check_net(algorithm, net)
        return cls(algorithm, net, algorithm.init(net, torch.Generator().manual_seed(seed)))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Of the rule on this net."""
        return self.algorithm.phases(self.net)

    @property
    def last_phase(self) -> Phase:
        """The one in which most has been learned."""
        return self.phases[-1]

    def batch(self, n: int, index: int = 0) -> Batch:
        """A batch that fits the net."""
        return make_batch(n, index=index, in_shape=self.net.in_shape, n_classes=self.net.n_classes, dtype=self.net.dtype)

    def step(self, batch: Batch, phase: Phase | None = None) -> Tensor:
        """One step, by default in the last phase."""
        return step(self.algorithm, self.net, self.state, batch, phase or self.last_phase)

    def steps(self, sizes: Sequence[int], *, first: int = 0, phase: Phase | None = None) -> list[Tensor]:
        """One step for each size, on batches ``first``, ``first + 1``, ..."""
        return [self.step(self.batch(n, first + k), phase) for k, n in enumerate(sizes)]

    def all_phases(self, sizes: Sequence[int]) -> list[Tensor]:
        """The steps in every phase, each closed by the rule's ``close``."""
        losses = []
        for phase in self.phases:
            losses += self.steps(sizes, first=phase.index * len(sizes), phase=phase)
            self.algorithm.close(self.net, self.state, phase)
        return losses

    def copy(self) -> RuleOnNet:
        """Net and state copied together: a head that is the net's output stays so."""
        net, state = copy.deepcopy((self.net, self.state))
        return RuleOnNet(self.algorithm, net, state)

    def tensors(self) -> dict[str, Tensor]:
        """Live, by name."""
        return tensors_of(self.net, self.state)

    def values(self) -> dict[str, Tensor]:
        """Copies, by name."""
        return {name: tensor.clone() for name, tensor in self.tensors().items()}

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """What is learned in the net, and heads in the state, by name."""
        yield from ((f"net.{name}", p.detach()) for name, p in self.net.named_parameters())
        of_net = {id(p) for p in self.net.parameters()}
        yield from ((f"state.{name}", p.detach()) for name, p in self.state.named_parameters() if id(p) not in of_net)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names and bytes: two fingerprints agree if and only if every bit does."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        sha.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().tobytes())
    return sha.hexdigest()
