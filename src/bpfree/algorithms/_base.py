"""The protocol of a learning rule: explicit state, in-place updates.

An :class:`Algorithm` is a frozen dataclass of hyper-parameters; what it learns lives in the net and in the state.
A rule whose blocks learn without reading any later block is a :class:`LocalAlgorithm`: it says what one block does, and the
fold over the blocks is final, so that a layer-parallel pipeline can call the same methods. What only some rules can do is a class
of its own: :class:`BlockGradients`, :class:`ChoosesReadout`. What is done *with* a rule (a step, a reset) are functions.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar, final

import torch
from torch import Tensor

from bpfree.algorithms._closed_form import MATHS, frozen_features, has_closed_form, maths_in
from bpfree.algorithms._cost import Cost, Shape
from bpfree.algorithms._declared import Phase, Traits, Upkeep
from bpfree.algorithms._fields import check, choice, number, numeric
from bpfree.algorithms._gather import gathered
from bpfree.algorithms._stages import BlockStages, Stages
from bpfree.algorithms._state import Hyper, Optimiser, Slot, State
from bpfree.data import Batch
from bpfree.errors import UsageError, unknown_name
from bpfree.nets import Block, Chain

__all__ = ["Algorithm", "BlockGradients", "ChoosesReadout", "KnownWeaknessWarning", "LocalAlgorithm"]

S = TypeVar("S", bound=State[Any])
"""The rule's own type of state."""

SlotT = TypeVar("SlotT", bound=Slot)
"""The type of its slots."""

C = TypeVar("C")
"""The carry, what one block hands to the next: a tensor, or a tuple of tensors."""


class KnownWeaknessWarning(UserWarning):
    """A setting in which the rule is known to do badly, with the cure."""


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC, Generic[S]):
    """A learning rule: hyper-parameters and formulas, no state.

    A rule writes ``traits``, ``init``, ``learn`` and ``scores``; the other methods have defaults. To refuse nets that it cannot
    train it overrides ``_check_net``; what it is known to do badly it says in ``_weaknesses``.
    """

    name: ClassVar[str]
    variants: ClassVar[tuple[str, ...]] = ()
    """Settings beside the plain rule that cost something else (``"update=in-sweep"``), for tables of costs."""
    savings: ClassVar[tuple[str, ...]] = ()
    """Settings that take less memory (``"chunk=64"``), the mildest first, or other arms that do, for a plan."""
    weighs_classes: ClassVar[bool] = False
    """Whether ``learn`` counts each example ``batch.weight`` times; data with class weights are refused otherwise."""
    replays: ClassVar[bool] = False
    """Whether ``learn`` is the same operations of torch for every batch of a shape, so that on a processor they may be recorded
    and repeated without it: it reads no value of a tensor, counts nothing in Python, draws by :mod:`bpfree.numerics.streams` or
    by torch's own generator, and changes in place what net and state save and nothing else. A repetition is compared with
    ``learn`` itself once."""
    search_space: ClassVar[Mapping[str, Any]] = {}
    """Ranges of a rule of another package, which no ruleset knows: ``{"beta": (0.1, 10.0)}``, see
    :mod:`bpfree.rulesets.declared`. A ruleset that names the rule has the last word. Those of this package are in
    ``rulesets/standard/spaces.yaml``."""

    lr: float = number(1e-3, above=0.0)
    weight_decay: float = number(0.0, low=0.0)
    optimiser: str = choice("adam", ("adam", "sgd"))
    momentum: float = number(0.9, low=0.0, high=0.999)

    def __new__(cls, *values: Any, **params: Any) -> Self:
        """Refuse hyper-parameters that the rule does not have, by the nearest names.

        Raises:
            UsageError: an unknown hyper-parameter, or a value without a name.
        """
        owner = next(each for each in cls.__mro__ if "__init__" in vars(each))
        if "__dataclass_params__" not in vars(owner):
            return super().__new__(cls)  # a subclass that is made in a way of its own
        if values:
            raise UsageError(
                f"{cls.__name__} takes its hyper-parameters by name, got {values[0]!r}; write {cls.__name__}(lr=1e-3)"
            )
        known = [field.name for field in dataclasses.fields(cls)]
        for name in params:
            if name not in known:
                raise unknown_name(f"hyper-parameter of {cls.name}", name, known)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        check(self.name, self)

    @abstractmethod
    def traits(self, net: Chain) -> Traits:
        """What the rule costs and reads on this net."""

    @abstractmethod
    def init(self, net: Chain, generator: torch.Generator) -> S:
        """Draw the net's initial parameters and allocate everything that the rule will ever need, once."""

    @abstractmethod
    def learn(self, net: Chain, state: S, batch: Batch, phase: Phase) -> Tensor:
        """Update net and state in place from one batch; returns losses on the device: one per learning block, or fewer.

        This is what is compiled, captured and compared with backprop: no decision is taken by the host. What is due every k-th
        step belongs into :meth:`upkeep`. Train with :func:`bpfree.algorithms.step`, which does both, with autograd switched off.
        """

    @abstractmethod
    def scores(self, net: Chain, state: S, x: Tensor, phase: Phase) -> Tensor:
        """Class scores (n, classes) of examples x (n, *in_shape), as the rule would predict after this phase."""

    def phases(self, net: Chain) -> tuple[Phase, ...]:
        """The phases of training; by default one, in which all blocks learn."""
        return (Phase(0, 1, tuple(range(len(net))), "all blocks"),)

    def close(self, net: Chain, state: S, phase: Phase) -> None:
        """What closes a pass of ``phase``, before its validation (a ridge solution, say); by default nothing."""
        del net, state, phase

    def upkeep(self) -> tuple[Upkeep[S], ...]:
        """Work that is done once or every so many steps, in the order in which it is done; by default none."""
        return ()

    def _features(self, net: Chain, state: S, x: Tensor) -> Iterator[Tensor]:
        """Features (n, d) of every block on examples x (n, *in_shape), as at evaluation; by default block after block."""
        del state
        return frozen_features(net, x, len(net))

    def _on(self, net: Chain) -> Algorithm[S]:
        """The rule with every default that follows the net filled in, as a record names it; by default itself."""
        del net
        return self

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        """Known weaknesses of the rule that net and options show, one line each with the cure; by default none.

        A line names no value that a search changes. ``batch_size`` is that of the training, where it is known.
        """
        del net, batch_size
        return iter(())

    def cost(self, shape: Shape, phase: Phase) -> Cost | None:
        """Multiply-adds and memory by formula, to hold the count against; None (the default) where no formula is known.

        Args:
            shape: of a net of dense and convolution blocks, and a batch.
        """
        del shape, phase
        return None

    def _check_net(self, net: Chain) -> None:
        """Refuse a net that the rule cannot train, by a UsageError that names the block and the cure; call ``super()`` first."""
        del net

    def _stages(self, net: Chain, phase: Phase) -> Stages[Any] | str:
        """``learn`` cut into stages that read nothing of a later one; or why it cannot be cut, as a clause (the default)."""
        del net, phase
        return "its update of a block reads later blocks"

    def _needs_whole_batch(self, net: Chain) -> str | None:
        """Why processes cannot share a batch by its rows, as a clause; None (the default) where they can.

        They can where each gradient handed to the optimiser is that of a mean over examples that do not read each other, where
        what is random is drawn by row (:mod:`bpfree.numerics.streams`), and where a mean that ``learn`` reads is taken by
        :func:`bpfree.numerics.rows.mean_over_batch`. BatchNorm is refused for every rule.
        """
        del net
        return None

    def _sums_over_examples(self, state: S) -> Iterator[Tensor]:
        """What ``learn`` adds to for each example without an optimiser: processes that share batches add theirs up."""
        del state
        return iter(())

    def _why_not_bfloat16(self) -> str | None:
        """What goes wrong in bfloat16 (of the net, or of products), as a clause; None (the default) where nothing does."""
        return None

    def _hyper(self, net: Chain) -> Hyper:
        return Hyper(numeric(self), net.dtype)

    def _optimiser(self, parameters: list[Tensor], **values: float) -> Optimiser:
        """An optimiser of the rule's kind; ``lr`` and ``weight_decay`` may be given for a part with its own values."""
        kind = "adam" if self.optimiser == "adam" else "sgd"
        options = {"lr": self.lr, "weight_decay": self.weight_decay} | values
        return Optimiser(parameters, kind=kind, momentum=self.momentum, **options)


@dataclass(frozen=True, kw_only=True)
class BlockGradients(Algorithm[S]):
    """A rule that takes gradients inside blocks.

    ``maths`` chooses how they are computed (``auto``: closed form wherever there is one); it changes speed and memory, never the
    result beyond rounding.
    """

    maths: str = choice("auto", MATHS)

    def _check_net(self, net: Chain) -> None:
        super()._check_net(net)
        if self.maths == "closed":
            for k, block in enumerate(net):
                if not has_closed_form(block):
                    raise UsageError(f"{self.name}: block {k} ({type(block).__name__}) has no closed form; use maths=auto")

    def _uses_autograd(self, net: Chain) -> bool:
        return maths_in(net, self.maths) != "closed"


class ChoosesReadout(Algorithm[S]):
    """A rule that has several readouts, among which validation may decide."""

    @abstractmethod
    def candidates(self, net: Chain, state: S, x: Tensor, phase: Phase) -> Tensor:
        """Class scores (r, n, classes) of all readouts among which validation is to decide; r = 1 where there is no choice."""

    @abstractmethod
    def choose(self, state: S, index: int) -> None:
        """From now on :meth:`scores` are those of candidate ``index``."""


@dataclass(frozen=True, kw_only=True)
class LocalAlgorithm(Algorithm[S], Generic[S, SlotT, C]):
    """A rule in which no block's update reads a later block."""

    def prepare(self, net: Chain, state: S, batch: Batch, phase: Phase) -> Batch:
        """What comes before the first block; by default nothing: the batch as it is.

        The one place where a rule may look at the whole net before its first block learns (Forward-Forward's hard negatives
        read the head). A rule that does so is not local, says so in its traits, and no pipeline can run it.
        """
        del net, state, phase
        return batch

    @abstractmethod
    def enter(self, net: Chain, batch: Batch) -> C:
        """What the first block receives; only shapes and the number of classes are read from the net."""

    @abstractmethod
    def block_step(
        self, block: Block, slot: SlotT, carry: C, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[C, Tensor]:
        """Use (and, if ``learn``, update) one block.

        Args:
            weight: ``batch.weight``, where there is one; a rule that does not declare ``weighs_classes`` never gets it.

        Returns:
            What the next block receives (activity from *before* the update, detached), and the block's loss (0-D).
        """

    def last_step(self, block: Block, slot: SlotT, carry: C, y: Tensor, weight: Tensor | None = None) -> tuple[C | None, Tensor]:
        """As :meth:`block_step`, of the last block that learns; by default the same.

        A rule whose :meth:`leave` does not read the carry may free the activity before the block's weight gradient is computed,
        and return None in its place.
        """
        return self.block_step(block, slot, carry, y, True, **_given(weight))

    def leave(self, net: Chain, state: S, batch: Batch, carry: C) -> None:
        """What is learned after the last block from its carry (a softmax head, say); by default nothing."""
        del net, state, batch, carry

    def _stages(self, net: Chain, phase: Phase) -> Stages[Any] | str:
        traits = self.traits(net)
        return BlockStages.of(self, phase) if traits.local else f"with these settings it is not local ({traits.note})"

    @final
    @gathered
    def learn(self, net: Chain, state: S, batch: Batch, phase: Phase) -> Tensor:
        """Prepare, enter, fold :meth:`block_step` over the blocks up to the last learning one, leave."""
        batch = self.prepare(net, state, batch, phase)
        carry = self.enter(net, batch)
        if not phase.learning:
            self.leave(net, state, batch, carry)
            return torch.zeros(1, device=batch.x.device)
        losses: list[Tensor] = []
        weighted = _given(batch.weight)
        last, blocks = max(phase.learning), list(net)  # once: an index into nn.ModuleList takes as long as a small kernel
        slots: list[Any] = list(state.slots)
        for k in range(last):
            learns = k in phase.learning
            carry, loss = self.block_step(blocks[k], slots[k], carry, batch.y, learns, **weighted)
            if learns:
                losses.append(loss)
        after, loss = self.last_step(blocks[last], slots[last], carry, batch.y, **weighted)
        losses.append(loss)
        del carry  # what entered the last block
        if after is not None:
            self.leave(net, state, batch, after)
        return torch.stack(losses)


def _given(weight: Tensor | None) -> dict[str, Tensor]:
    """The weight as an argument; none where there is no weight, so that a rule need not have the parameter."""
    return {} if weight is None else {"weight": weight}
