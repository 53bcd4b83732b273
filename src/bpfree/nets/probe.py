"""Dry runs: what any module does to the shape of an example, and whether it can be a block at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bpfree.errors import UsageError

__all__ = ["evaluating", "infer_out_shape"]

N_EXAMPLES = 3
"""In a dry run; the last one is changed in the second run, the others must not notice."""

TOLERANCE = 1e-4
"""Largest relative difference that a change in one example may make to another (rounding in other kernels)."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module and all parts of it in evaluation mode; afterwards as they were."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def infer_out_shape(module: nn.Module, in_shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    """Shape of what ``module`` makes of one example of ``in_shape``, found by running it on noise in evaluation mode.

    Nothing of the module changes, and torch's random number generators keep their states.

    Args:
        what: the module's name in messages, such as ``"block 2 (Residual)"``.

    Raises:
        UsageError: the module cannot take such examples, returns no single floating tensor, has no axis of examples in front,
            mixes the examples of a batch up, or overwrites its input.
    """
    tensor = next(module.parameters(), torch.empty(0))
    x = torch.randn(N_EXAMPLES, *in_shape, generator=torch.Generator().manual_seed(0)).to(tensor.device, tensor.dtype)
    changed = x.clone()
    changed[-1] = x[-1].flip(0) * -2.0 + 1.0
    fewer = x[:-1].clone()
    before = x.clone()
    with torch.no_grad(), evaluating(module):
        first, second = _run(module, x, what), _run(module, changed, what)
        if not torch.equal(x, before):
            raise UsageError(
                f"{what} overwrites its input, which another block may still need; use inplace=False in its first module"
            )
        shorter = _run(module, fewer, what)
    if first.dim() < 2 or first.shape[0] != N_EXAMPLES or shorter.shape != (N_EXAMPLES - 1, *first.shape[1:]):
        raise UsageError(
            f"{what} makes {tuple(first.shape)} of {N_EXAMPLES} examples of {in_shape} and {tuple(shorter.shape)} of "
            f"{N_EXAMPLES - 1}; the first axis must stay that of the examples, with at least one more behind it"
        )
    difference = (first[:-1] - second[:-1]).abs().max()
    if difference > TOLERANCE * first.abs().max():
        raise UsageError(
            f"{what} mixes the examples of a batch up: a change in one changes the result of another; "
            "keep the first axis apart (a transformer layer of torch needs batch_first=True)"
        )
    return tuple(first.shape[1:])


def _run(module: nn.Module, x: Tensor, what: str) -> Tensor:
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)  # where chance plays a part, it plays the same in every dry run
        try:
            y = module(x)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, NotImplementedError) as error:
            raise UsageError(f"{what} cannot take examples of {tuple(x.shape[1:])}{_cause(module, x, error)}") from error
    if not isinstance(y, Tensor):
        raise UsageError(
            f"{what} returns a {type(y).__name__}, not a tensor; wrap it in a module whose forward returns the one tensor that "
            "the next block takes"
        )
    if not y.is_floating_point():
        raise UsageError(f"{what} returns {y.dtype}; a block's activity must be floating-point, so that it can learn")
    return y


def _cause(module: nn.Module, x: Tensor, error: Exception) -> str:
    """Why it failed, and the cure: known for the commonest mistakes, else torch's own first line."""
    first = next((part for part in module.modules() if next(part.parameters(recurse=False), None) is not None), None)
    if isinstance(first, nn.Conv2d) and x.dim() == 4 and x.shape[1] != first.in_channels:
        cure = f"build it with in_channels={x.shape[1]}"
        if x.shape[1] == 1:
            cure += f", or repeat the grey channel {first.in_channels} times"
        return f": its convolution takes {first.in_channels} channels, these have {x.shape[1]}; {cure}"
    if isinstance(first, nn.Linear) and x.shape[-1] != first.in_features:
        return (
            f": its linear map takes {first.in_features} features, these have {x.shape[-1]}; build it with "
            f"in_features={x[0].numel()} behind nn.Flatten(), or give other examples"
        )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f" ({reason}); change the module, or the shape of what comes before it"
