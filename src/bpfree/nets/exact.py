"""Whether a layer computes exactly what its type says, from exactly the parameters that its type has.

A closed form reads ``weight`` and ``bias`` and never calls the layer. That is right only where nothing else takes part: pruning,
weight normalisation and parametrizations compute the weight from other parameters, hooks change what goes in or comes out, and a
replaced parameter may have another shape than the layer says. Such layers are trained by autograd, through their own call.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["is_computed", "why_hooked", "why_not_exact"]

_HOOKS = {
    "_forward_pre_hooks": "a forward pre-hook",
    "_forward_hooks": "a forward hook",
    "_backward_pre_hooks": "a backward pre-hook",
    "_backward_hooks": "a backward hook",
}
"""Where torch keeps the hooks of a module, and what they are called."""


def why_hooked(module: nn.Module) -> str | None:
    """What takes part when the module is called beside the forward of its type; None for nothing."""
    for place, words in _HOOKS.items():
        for hook in getattr(module, place).values():
            return f"has {words} ({getattr(hook, '__name__', type(hook).__name__)})"
    return "has a forward of its own" if "forward" in vars(module) else None


def is_computed(module: nn.Module) -> bool:
    """Whether a tensor of the module is a plain attribute: pruning and weight normalisation put there what they compute."""
    return any(isinstance(value, Tensor) for value in vars(module).values())


def why_not_exact(module: nn.Module) -> str | None:
    """Why a layer may not be trained in closed form; None if it may.

    Args:
        module: of any type; only ``nn.Linear``, ``nn.Conv2d`` and ``nn.BatchNorm2d`` have parameters in a closed form.
    """
    if (why := why_hooked(module)) is not None:
        return why
    shapes = _shapes(module)
    if shapes is None:
        return None if next(module.parameters(), None) is None else f"is a {type(module).__name__}, which has no closed form here"
    parameters = {name: value for name, value in module._parameters.items() if value is not None}
    if not set(parameters) <= set(shapes) or "weight" not in parameters:
        names = ", ".join(parameters) or "none"
        return f"has the parameters {names} in place of {' and '.join(shapes)}"
    for name, value in parameters.items():
        if type(value) is not nn.Parameter:
            return f"has a {name} of type {type(value).__name__}"
        if tuple(value.shape) != shapes[name]:
            return f"has a {name} of shape {tuple(value.shape)}, where its type has {shapes[name]}"
        if value._backward_hooks:
            return f"has a hook on the gradient of its {name}"
    if len({value.dtype for value in parameters.values()}) > 1:
        return "has parameters of several types"
    if is_computed(module) or next(module.children(), None) is not None:
        return "has a tensor or a module of its own beside its parameters"
    return None


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the parameters that a type with a closed form has, by name; None for another type."""
    if type(module) is nn.Linear:
        return {"weight": (module.out_features, module.in_features), "bias": (module.out_features,)}
    if type(module) is nn.Conv2d:
        kernel = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
        return {"weight": kernel, "bias": (module.out_channels,)}
    if type(module) is nn.BatchNorm2d:
        return {"weight": (module.num_features,), "bias": (module.num_features,)}
    return None
