"""Rules that break the protocol, one way each: what the contract must find."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bpfree.algorithms import Backprop, HeadSlot, MonoForward, State, Traits, number
from bpfree.algorithms.building import block_forward, block_gradients, cross_entropy, softmax_residual
from bpfree.nets import Block, Chain


@dataclass(frozen=True, kw_only=True)
class Honest(MonoForward):
    """Mono-Forward written out once more, with places to break."""

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        a, saved = block_forward(block, carry, self.maths)
        h = block.features(a)
        g = h @ slot.projection.t()
        residual = self.spoil_residual(softmax_residual(g, y))
        delta = block.features_gradient(residual @ slot.projection)
        gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
        gradients = self.spoil_gradients([*gradients, residual.t() @ h])
        if learn:
            slot.optimiser.step([*block.parameters(), slot.projection], gradients)
        return a, self.spoil_loss(cross_entropy(g, y), g, y)

    def last_step(self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.block_step(block, slot, carry, y, True)

    def spoil_residual(self, residual: Tensor) -> Tensor:
        return residual

    def spoil_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        return gradients

    def spoil_loss(self, loss: Tensor, g: Tensor, y: Tensor) -> Tensor:
        return loss


class WrongFormula(Honest):
    def spoil_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        return [g * 1.0001 for g in gradients] if self.maths != "autograd" else gradients


class SumNotMean(Honest):
    def spoil_residual(self, residual: Tensor) -> Tensor:
        return residual * residual.shape[0]


class FirstExampleCountsTwice(Honest):
    def spoil_residual(self, residual: Tensor) -> Tensor:
        return torch.cat([2 * residual[:1], residual[1:]])


class Waits(Honest):
    def spoil_loss(self, loss: Tensor, g: Tensor, y: Tensor) -> Tensor:
        return loss * (1.0 if loss.item() < 1e9 else 2.0)


class WaitsByMask(Honest):
    def spoil_residual(self, residual: Tensor) -> Tensor:
        return residual + 0.0 * residual[residual > 0].sum()


class NarrowSums(Honest):
    def spoil_loss(self, loss: Tensor, g: Tensor, y: Tensor) -> Tensor:
        return loss.to(g.dtype)


class Climbs(Honest):
    """Goes up the gradient."""

    def spoil_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        return [-g for g in gradients]


class TorchsDice(Honest):
    def spoil_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        return [g * torch.rand(()) for g in gradients]


class PythonRate(Honest):
    """The learning rate as a number in the graph: another one is another graph."""

    def spoil_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        return [g * self.lr for g in gradients]


class Rebinds(Honest):
    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        out = super().block_step(block, slot, carry, y, learn, weight)
        block.linear.bias = nn.Parameter(block.linear.bias.detach().clone())
        return out


class Counts(Honest):
    """Keeps a count in the instance: two trainings by it feel each other."""

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        count = self.__dict__.get("count", 0)
        object.__setattr__(self, "count", count + 1)
        return super().block_step(block, slot, carry + 0.01 * count, y, learn, weight)


class CountsLate(Honest):
    """Counts its steps in a list of Python, and does something else from the sixth on: repeated, it would go on as before."""

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        steps = slot.__dict__.setdefault("steps", [])
        steps.append(None)
        return super().block_step(block, slot, carry * 2 if len(steps) > 5 else carry, y, learn, weight)


class Unregistered(Honest):
    """Keeps a running mean in the slot that is no buffer."""

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        mean = slot.__dict__.get("mean", torch.zeros(()))
        slot.__dict__["mean"] = 0.9 * mean + carry.mean()
        return super().block_step(block, slot, carry + mean, y, learn, weight)


class Peeks(Honest):
    """Feeds the output's weight to the first block, and calls itself local."""

    def enter(self, net: Chain, batch) -> Tensor:
        return batch.x + net.output.weight.mean()


class Keeps(Honest):
    """Holds every block's activity until the end, in a list that only one training may use."""

    def enter(self, net: Chain, batch) -> Tensor:
        object.__setattr__(self, "activities", [])
        return super().enter(net, batch)

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.__dict__["activities"].append(carry)
        return super().block_step(block, slot, carry, y, learn, weight)


class Graph(Honest):
    """Lets autograd record its products, and says that it does not use it."""

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            block(carry)
        return super().block_step(block, slot, carry, y, learn, weight)


class SaysLocal(Backprop):
    def traits(self, net: Chain) -> Traits:
        return replace(super().traits(net), local=True, gradient_path=1)


class SaysNotLocal(Honest):
    def traits(self, net: Chain) -> Traits:
        return replace(super().traits(net), local=False, gradient_path=2)


class SaysNoHeads(Honest):
    def traits(self, net: Chain) -> Traits:
        return replace(super().traits(net), extra_parameters=0)


class HashSeed(Honest):
    """Draws its heads by a hash of a string."""

    def init(self, net: Chain, generator: torch.Generator) -> State:
        state = super().init(net, generator)
        state.slot(0).projection.detach().mul_(1 + hash("seed") % 1000)
        return state


class BatchScores(Honest):
    def scores(self, net: Chain, state: State, x: Tensor, phase) -> Tensor:
        scores = super().scores(net, state, x, phase)
        return scores - scores.mean(0)


@dataclass(frozen=True, kw_only=True)
class Forgets(Honest):
    """Has a hyper-parameter that nothing reads."""

    temperature: float = number(1.0, above=0.0)


@dataclass(frozen=True, kw_only=True)
class TakesOnce(Honest):
    """Writes a hyper-parameter into the slot as a Python number, where no reset finds it."""

    temperature: float = number(1.0, above=0.0)

    def init(self, net: Chain, generator: torch.Generator) -> State:
        state = super().init(net, generator)
        for slot in state.slots:
            slot.temperature = self.temperature
        return state

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return super().block_step(block, slot, carry * slot.temperature, y, learn, weight)


class ConstantColumn(Honest):
    """Nothing is wrong: one unit of each block says the same of every class, for ever, so that its true gradient is zero."""

    def init(self, net: Chain, generator: torch.Generator) -> State:
        state = super().init(net, generator)
        for slot in state.slots:
            slot.projection.detach()[:, 0] = 0.3
        return state

    def spoil_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        return [*gradients[:-1], torch.zeros_like(gradients[-1])]


class OtherWhenCompiled(Honest):
    """Goes another way in the compiled step alone."""

    def spoil_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        return [g.flip(0) for g in gradients] if torch.compiler.is_compiling() else gradients


class NoisyWhenCompiled(ConstantColumn):
    """Has a gradient in the compiled step where the eager one is zero."""

    def spoil_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        weight, *others = super().spoil_gradients(gradients)
        return [weight + 0.01 if torch.compiler.is_compiling() else weight, *others]


class RandomRead(Honest):
    """Nothing is wrong: its loss reads a matrix that is fixed and random, another one in each number format."""

    def init(self, net: Chain, generator: torch.Generator) -> State:
        state = super().init(net, generator)
        for slot in state.slots:
            noise = torch.rand(slot.projection.shape, generator=generator, dtype=net.dtype) - 0.5
            slot.register_buffer("noise", noise)
        return state

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        a, loss = super().block_step(block, slot, carry, y, learn, weight)
        return a, loss + (block.features(a) @ slot.get_buffer("noise").t()).abs().float().mean()
