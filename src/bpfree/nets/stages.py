"""The stages of a user's module: which they are, and whether its own forward is nothing but one after the other.

The forward runs once in evaluation and once in training mode, with a hook on every stage. What enters a stage must be what the
stage before it returned; where it is not, the message names the two stages and what differs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpfree.errors import UsageError, unknown_name
from bpfree.nets.probe import N_EXAMPLES, called, evaluating, infer_out_shape

__all__ = ["Stage", "Stages", "check_forward", "check_gradients", "stages_of"]

Stage = tuple[str, nn.Module]
"""A module with its name in the user's net; ``+ReLU`` for one that the user put between the net's own."""

Stages = Sequence[str | nn.Module] | Callable[[Any], Sequence[str | nn.Module]]
"""Dotted names or submodules in the order of the forward, or a function of the net that returns them."""

TOLERANCE = 1e-3
"""Largest difference of what is equal to rounding, relative to the largest value."""

_KNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.Flatten()": lambda x: x.flatten(1),
    "nn.ReLU()": F.relu,
    "nn.GELU()": F.gelu,
    "nn.Tanh()": torch.tanh,
    "nn.SiLU()": F.silu,
    "nn.MaxPool2d(2)": lambda x: F.max_pool2d(x, 2),
    "nn.AvgPool2d(2)": lambda x: F.avg_pool2d(x, 2),
    "nn.AdaptiveAvgPool2d(1), nn.Flatten()": lambda x: x.mean((2, 3)),
    "nn.Flatten(2)": lambda x: x.flatten(2),
    "bpfree.nets.MeanOverTokens()": lambda x: x.mean(1),
}
"""Functions that people call between stages, by the modules that take their place."""


def stages_of(net: nn.Module, stages: Stages, *, complete: bool) -> list[Stage]:
    """The stages as modules with names; those of an ``nn.ModuleList`` one by one.

    Args:
        complete: refuse a parameter of the net that is in no stage.

    Raises:
        UsageError: no list, an unknown name, a module with parameters that is not in the net, a stage that is listed twice or
            lies in another, or a parameter that is left out.
    """
    listed = stages(net) if callable(stages) else stages
    if isinstance(listed, str | nn.Module) or not isinstance(listed, Sequence):
        raise UsageError(
            f"stages must be a list of names or submodules, got a {type(listed).__name__}; write ['stem', 'layer1', 'head']"
        )
    named = list(net.named_modules(remove_duplicate=False))
    result = [stage for k, each in enumerate(listed) for stage in _stage(k, each, named)]
    _check_apart(result)
    covered = {id(parameter) for _, module in result for parameter in module.parameters()}
    left_out = [name for name, parameter in net.named_parameters() if id(parameter) not in covered]
    if left_out and complete:
        raise UsageError(
            f"the stages leave out the parameter {left_out[0]!r} of the net{_and_others(left_out)}, so it would not learn; list "
            "the module that holds it"
        )
    return result


def _stage(k: int, given: object, named: list[Stage]) -> list[Stage]:
    if isinstance(given, str):
        module = dict(named).get(given) if given else None
        if module is None:
            raise unknown_name("stage", given, [name for name, _ in named if name])
        name = given
    elif isinstance(given, nn.Module):
        name = next((name for name, module in named if module is given and name), None)
        module = given
        if name is None and next(given.parameters(), None) is not None:
            raise UsageError(
                f"stage {k} ({type(given).__name__}) has parameters and is no submodule of the net; a module of your own between "
                "stages may have none"
            )
        name = name or f"+{type(given).__name__}"
    else:
        raise UsageError(f"stage {k} must be a name or a submodule of the net, got a {type(given).__name__}")
    if isinstance(module, nn.ModuleList):
        return [(f"{name}.{part}", each) for part, each in module.named_children()]
    return [(name, module)]


def _check_apart(stages: list[Stage]) -> None:
    """Refuse parameters that are in two stages."""
    holder: dict[int, str] = {}
    for name, module in stages:
        for parameter in module.parameters():
            other = holder.setdefault(id(parameter), name)
            if other != name:
                raise UsageError(f"the stages {other!r} and {name!r} share parameters; list a module or its parts, and each once")
    learning = [name for name, module in stages if next(module.parameters(), None) is not None]
    twice = next((name for name in learning if learning.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"the stage {twice!r} is listed twice, and its block can learn at one place only; give each its own")


def _and_others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


@dataclass
class _Call:
    """Of one stage by the net's forward, in its order."""

    module: nn.Module
    inputs: list[Tensor]
    output: Any = None


def check_forward(net: nn.Module, stages: list[Stage], in_shape: tuple[int, ...], *, whole: bool) -> None:
    """Refuse a net whose forward is not its stages one after the other, in evaluation or in training.

    Before a last stage that is an ``nn.Linear``, flattening and the mean over tokens are allowed: a chain does that.

    Args:
        whole: the last stage gives what the net returns.

    Raises:
        UsageError: with the place: the stage that is used another number of times, in another order or with other inputs, or the
            two stages between which something else happens.
    """
    out_shape = infer_out_shape(net, in_shape, "the net")
    tensor = next(net.parameters(), torch.empty(0))
    x = torch.randn(N_EXAMPLES, *in_shape, generator=torch.Generator().manual_seed(0)).to(tensor.device, tensor.dtype)
    for training in (False, True):
        with torch.no_grad(), _without_traces(net), evaluating(net):
            net.train(training)
            calls, returned = _traced(net, [module for _, module in stages], x, out_shape)
            for name, extra in stages:
                if name.startswith("+"):
                    extra.train(training)
            unlisted = _unlisted(net, stages)
            _follow(stages, calls, x, returned if whole else None, unlisted, "in training mode, " if training else "")


def _traced(net: nn.Module, modules: list[nn.Module], x: Tensor, out_shape: tuple[int, ...]) -> tuple[list[_Call], Tensor]:
    """Every call of the modules in one forward; copies, since a later stage may write into what an earlier one returned."""
    calls: list[_Call] = []
    running: list[_Call] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        calls.append(_Call(module, [tensor.clone() for tensor in tensors]))
        running.append(calls[-1])

    def after(_module: nn.Module, _args: object, output: Any) -> None:
        running.pop().output = output.clone() if isinstance(output, Tensor) else output

    distinct = {id(module): module for module in modules}.values()
    handles = [module.register_forward_pre_hook(before, with_kwargs=True) for module in distinct]
    handles += [module.register_forward_hook(after) for module in distinct]
    try:
        return calls, called(net, x, out_shape, "the net")
    finally:
        for handle in handles:
            handle.remove()


def _unlisted(net: nn.Module, stages: list[Stage]) -> dict[str, nn.Module]:
    """Submodules without parameters that are in no stage: what people forget to list."""
    covered = {id(part) for _, module in stages for part in module.modules()}
    others = [(name, each) for name, each in net.named_modules() if name and id(each) not in covered]
    return {f"{name} {type(each).__name__}": each for name, each in others if next(each.parameters(), None) is None}


def _follow(
    stages: list[Stage], calls: list[_Call], x: Tensor, returned: Tensor | None, unlisted: dict[str, nn.Module], mode: str
) -> None:
    """Go through the stages as a chain does, beside the calls of the net's own forward."""
    _check_counts(stages, calls)
    value, before, rest = x, "the input", iter(calls)
    for k, (name, module) in enumerate(stages):
        what = f"{name} {type(module).__name__}"
        if name.startswith("+"):
            value, before = module(value), what
            continue
        call = next(rest)
        if call.module is not module:
            other = next(name for name, each in stages if each is call.module)
            raise UsageError(f"the net's forward calls {other!r} where the stages have {name!r}; list them in its order")
        if len(call.inputs) != 1:
            raise UsageError(
                f"the net's forward gives {what} {len(call.inputs)} tensors, but a stage takes the one that the stage before it "
                "returns; make one stage of both (a module around them)"
            )
        is_output = k == len(stages) - 1 and isinstance(module, nn.Linear)
        if not (_same(call.inputs[0], value) or (is_output and _same(call.inputs[0], _as_features(value)))):
            raise UsageError(_between(before, what, value, call.inputs[0], unlisted, mode))
        if not isinstance(call.output, Tensor):
            raise UsageError(
                f"{what} returns a {type(call.output).__name__}, not a tensor; wrap it in a module whose forward returns the one "
                "tensor that the next stage takes"
            )
        value, before = call.output, what
    if returned is not None and not _same(returned, value):
        raise UsageError(
            f"{mode}the net returns something else than its last stage, {before}, does; drop what its forward does behind that "
            "(softmax belongs to the loss)"
        )


def _check_counts(stages: list[Stage], calls: list[_Call]) -> None:
    for name, module in stages:
        if name.startswith("+"):
            continue
        used = sum(call.module is module for call in calls)
        listed = sum(each is module for _, each in stages)
        if used != listed:
            cure = "list it where it is used, or leave it out" if used == 0 else "give each use a module of its own"
            raise UsageError(
                f"the net's forward uses {name} {type(module).__name__} {_times(used)}, and the stages list it {_times(listed)}; "
                f"{cure}"
            )


def _times(n: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(n, f"{n} times")


def _as_features(value: Tensor) -> Tensor:
    """What the output of a chain takes of the last block's activity."""
    return value.mean(1) if value.dim() == 3 else value.flatten(1)


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return bool(torch.allclose(one, other, rtol=0.0, atol=TOLERANCE * float(other.abs().max()), equal_nan=True))


def _between(before: str, after: str, handed_on: Tensor, taken: Tensor, unlisted: dict[str, nn.Module], mode: str) -> str:
    """What happens between two stages, and the module that would do it where that is known."""
    one, other = tuple(handed_on.shape[1:]), tuple(taken.shape[1:])
    differs = f"{one} becomes {other}" if one != other else f"the values of {one} per example are changed"
    cure = "make what the forward does there a module, and list it there"
    if mode:
        cure = "make a module of the net of what the forward does there (nn.Dropout for F.dropout), and list it there"
    for words, function in {**unlisted, **_KNOWN}.items():
        if _computes(function, handed_on, taken):
            cure = f"list {words} there"
            break
    return f"{mode}between {before} and {after} the net does what no stage does: {differs}; {cure}"


def _computes(function: Callable[[Tensor], Tensor], given: Tensor, wanted: Tensor) -> bool:
    try:
        result: Any = function(given.clone())
    except Exception:  # noqa: BLE001 - a candidate that takes no such shape
        return False
    return isinstance(result, Tensor) and _same(result, wanted)


def check_gradients(net: nn.Module, composed: nn.Module, stages: list[Stage], in_shape: tuple[int, ...]) -> None:
    """Refuse a net whose parameters get other gradients than those of its stages: something between them stops or scales them.

    Args:
        composed: computes the stages one after the other, with the same parameters.

    Raises:
        UsageError: naming the parameter and its stage.
    """
    tensor = next(net.parameters())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N_EXAMPLES, *in_shape, generator=generator).to(tensor.device, tensor.dtype)
    named = [(f"{stage}.{name}", each) for stage, module in stages for name, each in module.named_parameters()]
    both: list[tuple[Tensor | None, ...]] = []
    for module in (net, composed):
        with torch.enable_grad(), _without_traces(net), evaluating(net):
            module.train()
            y = module(x)
            towards = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.device, y.dtype)
            both.append(torch.autograd.grad((y * towards).sum(), [each for _, each in named], allow_unused=True))
    largest = max(float(gradient.abs().max()) for gradients in both for gradient in gradients if gradient is not None)
    for (name, _), theirs, ours in zip(named, *both, strict=True):
        if theirs is None and ours is not None:
            raise UsageError(
                f"the net's forward stops the gradient behind {name!r} (detach, or no_grad), which its stages do not; drop that"
            )
        if theirs is not None and (ours is None or not _alike(theirs, ours, largest)):
            raise UsageError(
                f"the net gives {name!r} another gradient than its stages one after the other do; make what its forward does "
                "between them a module, and list it"
            )


def _alike(theirs: Tensor, ours: Tensor, largest: float) -> bool:
    """Within rounding of this parameter, or, where its true gradient is 0 (a bias before BatchNorm), of the net's largest."""
    within = 10 * TOLERANCE * max(float(theirs.abs().max()), float(ours.abs().max()))
    return bool(torch.allclose(theirs, ours, rtol=0.0, atol=max(within, 1e-5 * largest)))


@contextmanager
def _without_traces(net: nn.Module) -> Iterator[None]:
    """What runs within it draws the same random numbers each time, and leaves buffers and torch's generators as they were."""
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    cuda = {tensor.device for tensor in itertools.chain(net.parameters(), net.buffers()) if tensor.device.type == "cuda"}
    with torch.random.fork_rng(list(cuda)):
        torch.manual_seed(0)
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
