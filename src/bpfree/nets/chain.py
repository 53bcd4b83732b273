"""A network as bpfree trains it: blocks in order, then one linear output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bpfree.errors import UsageError
from bpfree.nets.blocks import Block, numbered
from bpfree.nets.exact import why_not_exact

__all__ = ["Chain"]

OUTPUT_STD = 0.01
"""Standard deviation of the initial output weights (arXiv 2509.19063, released code ``mf_mlp.py``)."""


class Chain(nn.Module):
    """Blocks in order and a linear output on the features of the last one: a plain ``nn.Module`` before and after training.

    Rules use what they need of it. Backprop trains blocks and output; Mono-Forward's last projection *is* the output weight
    (its bias stays zero); Forward-Forward leaves the output untouched and says so in its traits.

    Args:
        blocks: at least one; each block's input shape is the output shape of the block before it.
        n_classes: at least 2.
        output: the linear output, if it exists already; with a bias. By default one is made.
        source: the user's module that the blocks and the output share all parameters with; :meth:`to_module` returns it.
        parts: one text per block for :meth:`describe`: the user's modules in it.
        keep_weights: start every run from the weights that blocks and output have now.

    Raises:
        UsageError: no blocks, a block without parameters, two blocks that share some, shapes that do not chain (each naming
            the block), fewer than two classes, a layer with a closed form that is not what its type says (:meth:`check_exact`).

    Parameters in another memory layout (transposed, channels-last, strided views) are made contiguous, in the same objects.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        n_classes: int,
        *,
        output: nn.Linear | None = None,
        source: nn.Module | None = None,
        parts: Sequence[str] = (),
        keep_weights: bool = False,
    ) -> None:
        super().__init__()
        _check(blocks, n_classes, output)
        self.blocks = nn.ModuleList(blocks)
        self.output = output or nn.Linear(blocks[-1].n_features, n_classes)
        self.check_exact()
        _make_contiguous(self)
        self._source = (source,)  # a tuple, so that torch does not register the module a second time
        self._parts = tuple(parts)
        given = self.state_dict() if keep_weights else {}
        self._given = {name: tensor.detach().clone() for name, tensor in given.items()}
        self.spec: str | None = None  # the text that bpfree.nets.build makes an equal net of, where there is one
        self._refusal: str | None = None

    def to_module(self) -> nn.Module:
        """The net as a plain ``nn.Module`` that needs no bpfree, sharing all parameters.

        A net from :func:`bpfree.nets.from_module` that ended in its output comes back as the user's own object. The mean over a
        sequence of tokens is taken by one small module of bpfree.
        """
        if self._source[0] is not None:
            return self._source[0]
        plain = [module for block in self for module in block.plain()]
        return nn.Sequential(*plain, self[-1].features_module(), self.output)

    def describe(self) -> list[str]:
        """One line per block and one for the output: shapes, parameters, and what modules of a user's net it holds."""
        lines = []
        for k, block in enumerate(self):
            parts = self._parts[k] if self._parts else ""
            n_parameters = sum(parameter.numel() for parameter in block.parameters())
            line = f"block {k}: {block.title} {block.in_shape} -> {block.out_shape}, {n_parameters} parameters"
            lines.append(f"{line}; {parts}" if parts else line)
        return [*lines, f"output: {self.output.in_features} features -> {self.output.out_features} classes"]

    def check_exact(self) -> None:
        """Refuse a layer that is no longer what its type says: hooked, pruned, parametrized or with a replaced parameter.

        Raises:
            UsageError: naming the block, the layer, the reason and the cure.
        """
        for k, block in enumerate(self):
            with numbered(k):
                block.check_exact()
        if (why := why_not_exact(self.output)) is not None:
            raise UsageError(
                f"the output ({type(self.output).__name__}) {why}, so its closed form would be wrong; undo that "
                "(torch.nn.utils.prune.remove, handle.remove()), or give a plain nn.Linear"
            )

    def check_batches(self, n_examples: int, batch_size: int) -> None:
        """Refuse a sweep over ``n_examples`` that ends in a batch of one, where a BatchNorm must learn from it.

        Raises:
            UsageError: naming the block, and a batch size that fits.
        """
        if min(n_examples, batch_size) != 1 and n_examples % batch_size != 1:
            return
        for k, block in enumerate(self):
            if block.normalises_batch:
                fitting = next((size for size in range(batch_size + 1, n_examples + 1) if n_examples % size != 1), None)
                cure = f"use --batch-size {fitting}, or " if fitting else "use "
                raise UsageError(
                    f"block {k} ({block.title}) has BatchNorm, which cannot train on one example; {n_examples} examples in "
                    f"batches of {batch_size} leave a batch of one: {cure}a net without BatchNorm"
                )

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)  # pyright: ignore[reportReturnType]  # nn.ModuleList is not generic

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, k: int) -> Block:
        return self.blocks[k]  # pyright: ignore[reportReturnType]  # nn.ModuleList is not generic

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self[0].in_shape

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.output.out_features

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.output.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the parameters."""
        return self.output.weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (n, n_classes) of examples (n, *in_shape).

        Raises:
            UsageError: the rule that trained the net does not predict by its output (:meth:`refuse`).
        """
        if self._refusal is not None:
            raise UsageError(self._refusal)
        return self.output_scores(x)

    def refuse(self, why: str | None) -> None:
        """From now on :meth:`forward` answers with this message, since its scores would not be those of the trained rule.

        Args:
            why: what was asked, and the cure; None to answer again. :meth:`reset_parameters` does that too.
        """
        self._refusal = why

    def output_scores(self, x: Tensor) -> Tensor:
        """Scores (n, n_classes) of the linear output, whether or not the rule predicts by it."""
        for block in self:
            x = block(x)
        return self.output(self[-1].features(x))

    @contextmanager
    def in_row_order(self) -> Iterator[None]:
        """Within it every parameter is contiguous: draw initial values there, also where a rule draws its own.

        torch fills a tensor in the order of its memory, and the same seed must give the same weights in every layout. Parameters
        that have another one (after ``net.to(memory_format=...)``) get it back, at their address, with the new values.
        """
        others = [(parameter, parameter.data) for parameter in self.parameters() if not parameter.is_contiguous()]
        for parameter, data in others:
            parameter.data = data.contiguous()
        try:
            yield
        finally:
            for parameter, data in others:
                data.copy_(parameter.data)
                parameter.data = data

    @contextmanager
    def plain_to_tracers(self) -> Iterator[None]:
        """Within it ``torch.export`` sees the blocks with their own types, by which rules choose their formulas.

        Its tracer replaces nn.Module's attribute access, and gives objects of derived types.
        """
        self.__dict__["blocks"] = self.blocks  # an attribute of the object comes before nn.Module's
        try:
            yield
        finally:
            del self.__dict__["blocks"]

    def given_weights(self) -> Mapping[str, Tensor]:
        """The tensors that every run starts from, by name; none of a net that is drawn again."""
        return self._given

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh initial parameters in place: each block by its own rule, output N(0, 0.01²), biases zero.

        A net made with ``keep_weights`` goes back to the weights that it was given with.
        """
        self.refuse(None)
        with self.in_row_order():
            for block in self:
                block.reset_parameters(generator)
            nn.init.normal_(self.output.weight, std=OUTPUT_STD, generator=generator)
            nn.init.zeros_(self.output.bias)
        if self._given:
            for name, tensor in self.state_dict().items():
                tensor.copy_(self._given[name])


def _make_contiguous(net: nn.Module) -> None:
    """Give every parameter the usual memory layout, row after row, before anything keeps its address.

    A transposed or strided parameter would be drawn in another order than a plain one and so train to another result. The
    parameter object stays, so a user's net that shares it computes with the same values as before.
    """
    for parameter in net.parameters():
        if not parameter.is_contiguous():
            parameter.data = parameter.data.contiguous()


def _check(blocks: Sequence[Block], n_classes: int, output: nn.Linear | None) -> None:
    if not blocks:
        raise UsageError("a net needs at least one block, got none")
    if n_classes < 2:
        raise UsageError(f"a classifier needs at least 2 classes, got {n_classes}")
    owner: dict[tuple[torch.device, int], int] = {}
    for k, block in enumerate(blocks):
        if next(block.parameters(), None) is None:
            raise UsageError(
                f"block {k} ({block.title}) has no parameters, so it has nothing to learn; join it to the block before it"
            )
        for parameter in block.parameters():
            # Two parameters may be views of one memory, such as a weight and its transpose.
            place = (parameter.device, parameter.data_ptr() or id(parameter))
            if owner.setdefault(place, k) != k:
                raise UsageError(
                    f"blocks {owner[place]} and {k} share a parameter, so neither can be trained on its own; give each its own"
                )
        if k > 0 and block.in_shape != blocks[k - 1].out_shape:
            raise UsageError(
                f"block {k} takes {block.in_shape}, but block {k - 1} returns {blocks[k - 1].out_shape}; "
                "change one of them so that the shapes chain"
            )
    if output is not None and (output.in_features, output.out_features) != (blocks[-1].n_features, n_classes):
        raise UsageError(
            f"the output maps {output.in_features} features to {output.out_features} classes, but the last block has "
            f"{blocks[-1].n_features} features, and there are {n_classes} classes; change the output"
        )
