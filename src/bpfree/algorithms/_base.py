"""The protocol of a learning rule: explicit state, in-place step.

An :class:`Algorithm` is a frozen dataclass of hyper-parameters; what it learns lives in the net and in the state.
A rule whose blocks learn without reading any later block is a :class:`LocalAlgorithm`: it says what one block does, and the
step that folds the blocks together is final, so that a layer-parallel pipeline can call the same three methods.
"""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._closed_form import MATHS, has_closed_form
from bpfree.algorithms._fields import Value, check, choice, number
from bpfree.algorithms._state import Hyper, Optimiser, Slot, State
from bpfree.data import Batch, Dataset
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain

__all__ = ["Algorithm", "Carry", "LocalAlgorithm", "Phase", "Traits"]

Carry = Any
"""What one block hands to the next: a tensor, or a tuple of tensors (the rule decides)."""


@dataclass(frozen=True)
class Traits:
    """What a reader must know of a rule on a given net before believing a number.

    Attributes:
        forward_passes: per training step, counted in passes of one batch through all learning blocks.
        gradient_path: blocks that the longest chain rule crosses (backprop: the depth and the output).
        local: no block's update reads a later block.
        autograd: torch's automatic differentiation is used somewhere in the step.
        trains_output: the net's linear output is learned and used.
        extra_parameters: learned scalars beside the net (heads, mirrors).
        note: what else should be said.
    """

    forward_passes: float
    gradient_path: int
    local: bool
    autograd: bool
    trains_output: bool
    extra_parameters: int
    note: str = ""


@dataclass(frozen=True)
class Phase:
    """A stretch of training with a fixed set of learning blocks.

    Attributes:
        index, count: which phase of how many.
        learning: indices of the blocks that learn.
        name: for people, and for exceptions of a ruleset.
        max_passes: the rule has nothing more to do after so many (a closed form is exact after one); the stop rule may
            give fewer, never more. What is left goes to the next phase. None: as many as the stop rule gives.
        cached: the batches hold what :meth:`Algorithm.inputs` has computed once, not examples.
    """

    index: int
    count: int
    learning: tuple[int, ...]
    name: str
    max_passes: int | None = None
    cached: bool = False


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """A learning rule: hyper-parameters and formulas, no state.

    ``maths`` chooses how gradients inside a block are computed (``auto``: closed form wherever there is one); it changes
    speed and memory, never the result beyond rounding.
    """

    name: ClassVar[str]
    lr: float = number(1e-3, above=0.0)
    weight_decay: float = number(0.0, low=0.0)
    optimiser: str = choice("adam", ("adam", "sgd"))
    momentum: float = number(0.9, low=0.0, high=0.999)
    maths: str = choice("auto", MATHS)

    def __post_init__(self) -> None:
        check(self.name, self)

    @abstractmethod
    def traits(self, net: Chain) -> Traits:
        """What the rule costs and reads on this net."""

    @abstractmethod
    def init(self, net: Chain, generator: torch.Generator) -> State:
        """Draw the net's initial parameters and allocate everything that the rule will ever need, once."""

    @abstractmethod
    def step(self, net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        """Update net and state in place from one batch; returns losses (one per learning block), on the device."""

    @abstractmethod
    def scores(self, net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
        """Class scores (n, classes) of examples x (n, *in_shape), as the rule would predict after this phase."""

    def candidates(self, net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
        """Class scores (r, n, classes) of all readouts among which validation is to decide; by default the one that there is."""
        return self.scores(net, state, x, phase).unsqueeze(0)

    def choose(self, state: State, index: int) -> None:
        """From now on :meth:`scores` are those of candidate ``index``; by default there is nothing to choose."""
        del state, index

    def phases(self, net: Chain) -> tuple[Phase, ...]:
        """The phases of training; by default one, in which all blocks learn."""
        return (Phase(0, 1, tuple(range(len(net))), "all blocks"),)

    def inputs(self, net: Chain, state: State, data: Dataset, phase: Phase) -> tuple[Dataset, Phase]:
        """What a phase reads, and the phase that reads it: by default ``data`` and ``phase`` as they are.

        A rule of which nothing before some point changes during the phase may compute that part once for every example, and
        return it as data of a phase with ``cached=True``: the same examples in the same order, for :meth:`step` and
        :meth:`scores`. It is asked when a phase begins, and again when training resumes within one.
        """
        del net, state
        return data, phase

    def end_pass(self, net: Chain, state: State, phase: Phase) -> None:
        """What closes a pass, before its validation (a ridge solve, say); by default nothing."""
        del net, state, phase

    def end_phase(self, net: Chain, state: State, phase: Phase) -> None:
        """What closes a phase, after its best state is restored; by default nothing."""
        del net, state, phase

    def check_net(self, net: Chain) -> None:
        """Refuse a net that the rule cannot train.

        Raises:
            UsageError: naming the block and the cure.
        """
        if self.maths == "closed":
            for k, block in enumerate(net):
                if not has_closed_form(block):
                    raise UsageError(f"{self.name}: block {k} ({type(block).__name__}) has no closed form; use maths=auto")

    @final
    def numeric(self) -> dict[str, float]:
        """The numeric hyper-parameters (floats), which a search may change without recompiling."""
        return {
            field.name: float(getattr(self, field.name)) for field in dataclasses.fields(self) if isinstance(field.default, float)
        }

    @final
    def params(self) -> dict[str, Value]:
        """All hyper-parameters, for the record."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @final
    def reset(self, net: Chain, state: State, generator: torch.Generator) -> None:
        """Start a new trial of this rule in a state that :meth:`init` made, at the same addresses.

        The result is bitwise that of a fresh :meth:`init` from the same generator.

        Raises:
            UsageError: the state was made with other structural hyper-parameters, or for another net.
        """
        twin = copy.deepcopy(net).to("cpu")  # drawn on the CPU, as by train.initialise: the same on every device
        fresh = self.init(twin, generator)
        for mine, theirs in ((net.state_dict(), twin.state_dict()), (state.state_dict(), fresh.state_dict())):
            if {name: t.shape for name, t in mine.items()} != {name: t.shape for name, t in theirs.items()}:
                raise UsageError(f"{self.name}: this state was made by another rule or for another net; make one with init")
            for name, tensor in mine.items():
                tensor.copy_(theirs[name])
        for mine, theirs in zip(state.optimisers(), fresh.optimisers(), strict=True):
            mine.decays, mine.momentum = theirs.decays, theirs.momentum

    @final
    def maths_used(self, net: Chain) -> str:
        """``"closed"``, ``"autograd"`` or ``"mixed"``: how the gradients inside the blocks are computed, for the record."""
        if self.maths == "autograd":
            return "autograd"
        kinds = {has_closed_form(block) for block in net}
        return {frozenset({True}): "closed", frozenset({False}): "autograd"}.get(frozenset(kinds), "mixed")

    def _hyper(self, net: Chain) -> Hyper:
        return Hyper(self.numeric(), net.dtype)

    def _optimiser(self, parameters: list[Tensor], **numeric: float) -> Optimiser:
        """An optimiser of the rule's kind; ``lr`` and ``weight_decay`` may be given for a part with its own values."""
        values = {"lr": self.lr, "weight_decay": self.weight_decay} | numeric
        return Optimiser(parameters, kind=self.optimiser, momentum=self.momentum, **values)


@dataclass(frozen=True, kw_only=True)
class LocalAlgorithm(Algorithm):
    """A rule in which no block's update reads a later block."""

    def prepare(self, net: Chain, state: State, batch: Batch, phase: Phase) -> Batch:
        """What comes before the first block; by default nothing: the batch as it is.

        The one place where a rule may look at the whole net before its first block learns (Forward-Forward's hard negatives
        read the head). A rule that does so is not local, says so in its traits, and no pipeline can run it.
        """
        del net, state, phase
        return batch

    @abstractmethod
    def enter(self, net: Chain, batch: Batch) -> Carry:
        """What the first block receives; only shapes and the number of classes are read from the net."""

    @abstractmethod
    def block_step(self, block: Block, slot: Slot, carry: Carry, y: Tensor, learn: bool) -> tuple[Carry, Tensor]:
        """Use (and, if ``learn``, update) one block.

        Returns:
            What the next block receives (activity from *before* the update, detached), and the block's loss (0-D).
        """

    def leave(self, net: Chain, state: State, batch: Batch, carries: list[Carry], learn: bool) -> None:
        """What is learned after the last block (a softmax head, say); by default nothing."""
        del net, state, batch, carries, learn

    @property
    def keeps_carries(self) -> bool:
        """Whether :meth:`leave` reads the carries of all blocks; if not, each is freed when the next block is done."""
        return False

    @final
    @torch.no_grad()
    def step(self, net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        """Prepare, enter, fold :meth:`block_step` over the blocks up to the last learning one, leave."""
        batch = self.prepare(net, state, batch, phase)
        carry = self.enter(net, batch)
        carries: list[Carry] = []
        losses: list[Tensor] = []
        for k in range(max(phase.learning, default=-1) + 1):
            learn = k in phase.learning
            carry, loss = self.block_step(net[k], state.slot(k), carry, batch.y, learn)
            if learn:
                losses.append(loss)
            if self.keeps_carries:
                carries.append(carry)
        self.leave(net, state, batch, carries, learn=True)
        return torch.stack(losses) if losses else torch.zeros(1, device=batch.x.device)
