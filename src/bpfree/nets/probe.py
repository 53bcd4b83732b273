"""Calls of a user's module: dry runs that find what it does to the shape of an example, and calls in training.

Whatever goes wrong inside is one line that names the module, with the original exception as its cause. Memory that ran out is
left as it is: it is no fault of the module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from bpfree.errors import BpfreeError, UsageError

__all__ = ["called", "check_parameters", "evaluating", "infer_out_shape"]

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


def check_parameters(module: nn.Module, what: str) -> None:
    """Refuse parameters that no rule can train; those of lazy modules, which have no values yet, are left to the dry run.

    Args:
        what: the module's name in messages.

    Raises:
        UsageError: one is complex, without memory (``meta``), NaN or infinite.
    """
    for name, parameter in module.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            continue
        if parameter.is_meta:
            raise UsageError(
                f"{what} has a parameter {name!r} on the meta device, which holds no values; call to_empty(device='cpu') and "
                "draw its values, or build it on another device"
            )
        if parameter.is_complex():
            raise UsageError(f"{what} has a parameter {name!r} of {parameter.dtype}; rules train real numbers: use float32")
        if not bool(torch.isfinite(parameter).all()):
            raise UsageError(f"{what} has a parameter {name!r} with NaN or infinite values; give it finite ones")


def infer_out_shape(module: nn.Module, in_shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    """Shape of what ``module`` makes of one example of ``in_shape``, found by running it on noise in evaluation mode.

    Nothing of the module changes, and torch's random number generators keep their states.

    Args:
        what: the module's name in messages, such as ``"block 2 (Residual)"``.

    Raises:
        UsageError: the module has parameters as in :func:`check_parameters`, cannot take such examples, returns no single
            floating tensor, has no axis of examples in front, mixes the examples of a batch up, or overwrites its input.
    """
    check_parameters(module, what)
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


def called(
    module: nn.Module, x: Tensor, out_shape: tuple[int, ...], what: str, call: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """``module(x)`` in training or evaluation, checked: one tensor of the shape that the dry run found.

    Args:
        out_shape: of one example.
        what: the module's name in messages.
        call: what is called in the module's place, such as the module with other parameters.

    Raises:
        UsageError: the module raised, or returned something else than in the dry run (in training mode, most likely).
    """
    if torch.compiler.is_compiling():  # a compiler does not trace the except clause
        return (call or module)(x)
    try:
        y = (call or module)(x)
    except BpfreeError:
        raise
    except Exception as error:
        if _is_of_the_machine(error):
            raise
        raise UsageError(f"{what} raised {_first_line(error)}; correct its forward") from error
    if not isinstance(y, Tensor):
        raise UsageError(f"{what} {_returns(module, y)}")
    if tuple(y.shape) != (len(x), *out_shape):
        mode = "in training" if module.training else "in evaluation"
        raise UsageError(
            f"{what} returns {tuple(y.shape)} for {len(x)} examples {mode}, but {out_shape} per example in its dry run; its "
            "forward must return one shape always"
        )
    return y


def _run(module: nn.Module, x: Tensor, what: str) -> Tensor:
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)  # where chance plays a part, it plays the same in every dry run
        try:
            y = module(x)
        except BpfreeError:
            raise
        except Exception as error:
            if _is_of_the_machine(error):
                raise
            why = _stage_that_fails(module, x) or _cause(module, x, error)
            raise UsageError(f"{what} cannot take examples of {tuple(x.shape[1:])}{why}") from error
    if not isinstance(y, Tensor):
        raise UsageError(f"{what} {_returns(module, y)}")
    if not y.is_floating_point():
        raise UsageError(f"{what} returns {y.dtype}; a block's activity must be floating-point, so that it can learn")
    return y


def _is_of_the_machine(error: Exception) -> bool:
    """Whether memory ran out or a device was lost; torch has no type of its own for the first on a processor."""
    lost = isinstance(error, MemoryError | torch.OutOfMemoryError | torch.AcceleratorError)
    return lost or "DefaultCPUAllocator" in str(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _returns(module: nn.Module, y: object) -> str:
    """What is wrong with a result that is no tensor, and the wrapper that cures it."""
    stage = _last_stage(module)
    cure = "wrap it in a module whose forward returns the one tensor that the next block takes"
    if isinstance(stage, nn.MultiheadAttention):
        cure = "wrap it in a module with forward(self, x): return self.inner(x, x, x)[0]"
    elif isinstance(y, tuple | list) and y and isinstance(y[0], Tensor):
        cure = "wrap it in a module with forward(self, x): return self.inner(x)[0]"
    inner = "" if stage is module else f" (from its {type(stage).__name__})"
    return f"returns a {type(y).__name__}{inner}, not a tensor; {cure}"


def _last_stage(module: nn.Module) -> nn.Module:
    while type(module) is nn.Sequential and len(module):
        module = module[-1]
    return module


def _stage_that_fails(module: nn.Module, x: Tensor) -> str | None:
    """Of a sequence: the first stage that returns no tensor or raises, in words; None for any other module."""
    if type(module) is not nn.Sequential:
        if isinstance(module, nn.MultiheadAttention):
            return (
                ": MultiheadAttention takes a query, a key and a value and returns a tuple; wrap it in a module with "
                "forward(self, x): return self.inner(x, x, x)[0] (batch_first=True)"
            )
        return None
    value: Tensor = x
    for k, stage in enumerate(module, 1):
        where = f": its {type(stage).__name__}, stage {k} of {len(module)},"
        try:
            after = stage(value)
        except Exception as error:  # noqa: BLE001 - it is returned, and the caller raises an error of its own
            why = _stage_that_fails(stage, value) or _cause(stage, value, error)
            if value is x:  # its shape has been named already
                return why if why.startswith(":") else f"{where} fails{why}"
            return f"{where} cannot take {tuple(value.shape[1:])} per example{why}"
        if not isinstance(after, Tensor):
            return f"{where} {_returns(stage, after)}"
        value = after
    return None


def _cause(module: nn.Module, x: Tensor, error: Exception) -> str:
    """Why it failed, and the cure: known for the commonest mistakes, else the first line of the exception."""
    first = next((part for part in module.modules() if next(part.parameters(recurse=False), None) is not None), None)
    if isinstance(first, nn.Embedding | nn.EmbeddingBag):
        return (
            f": its {type(first).__name__} takes whole numbers, and examples come as floating ones; wrap it in a module with "
            f"forward(self, x): return self.inner(x.long().clamp(0, {first.num_embeddings - 1})), and give the data as a loader, "
            "whose values are not standardised"
        )
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
    return f" ({_first_line(error)}); change the module, or the shape of what comes before it"
