"""A block around any module: autograd inside it, nothing across its edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bpfree.errors import UsageError
from bpfree.nets.blocks import Block
from bpfree.nets.exact import is_computed
from bpfree.nets.probe import called, infer_out_shape

__all__ = ["MeanOverTokens", "ModuleBlock"]


class MeanOverTokens(nn.Module):
    """(n, tokens, d) to (n, d): what scores are taken from where the activity is a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        """Mean over the first axis behind the examples."""
        return x.mean(1)


class ModuleBlock(Block):
    """A user's ``nn.Module`` as one block. It is trained in place, by autograd inside the block only.

    Its shapes are found by a dry run. Scores and goodness are taken from the activity flattened, or, where the activity is a
    sequence (tokens, d), from its mean over the tokens.

    Args:
        in_shape: shape of one example.
        module: takes (n, *in_shape), returns one floating tensor (n, *out_shape); it has parameters, all of which learn.
        tokens: whether the activity is a sequence; by default where it has two axes beside that of the examples.
        keep_weights: start every run from the weights that the module has now, instead of fresh ones.
        name: of the block in messages, by default the module's type.

    Raises:
        UsageError: a module without parameters or with frozen ones, or one that :func:`infer_out_shape` refuses.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        module: nn.Module,
        *,
        tokens: bool | None = None,
        keep_weights: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]  # what a user may pass
            raise UsageError(f"ModuleBlock takes (in_shape, module), got a {type(module).__name__} as module; swap the two?")
        self.name = name or f"a block around {type(module).__name__}"
        _check_parameters(module, self.name)
        self.in_shape = tuple(in_shape)
        self.out_shape = infer_out_shape(module, self.in_shape, self.name)
        self.tokens = len(self.out_shape) == 2 if tokens is None else tokens
        if self.tokens and len(self.out_shape) != 2:
            raise UsageError(f"{self.name}: tokens=True needs an activity (tokens, features), got {self.out_shape}")
        self.module = module
        self.keep_weights = keep_weights
        drawn = set() if keep_weights else _drawn_anew(module)
        self._given = {name: tensor.detach().clone() for name, tensor in _tensors(module).items() if name not in drawn}

    @property
    def title(self) -> str:
        """With the type of the module in it."""
        return f"ModuleBlock of {type(self.module).__name__}"

    @property
    def n_features(self) -> int:
        """Width of :meth:`features`."""
        return self.out_shape[-1] if self.tokens else math.prod(self.out_shape)

    def forward(self, x: Tensor) -> Tensor:
        """(n, *in_shape) to (n, *out_shape).

        Raises:
            UsageError: the module raised, or returned something else than in its dry run.
        """
        if self.training:
            self.check_batch(len(x))
        return called(self.module, x, self.out_shape, self.name)

    def features(self, activity: Tensor) -> Tensor:
        """(n, n_features): the activity flattened, or its mean over the tokens."""
        return activity.mean(1) if self.tokens else super().features(activity)

    def features_gradient(self, gradient: Tensor) -> Tensor:
        """(n, n_features) back to the shape of the activity: each token gets an equal share."""
        if not self.tokens:
            return super().features_gradient(gradient)
        return (gradient / self.out_shape[0]).unsqueeze(1).expand(-1, *self.out_shape)

    def features_module(self) -> nn.Module:
        """:meth:`features` as a plain module."""
        return MeanOverTokens() if self.tokens else super().features_module()

    def plain(self) -> list[nn.Module]:
        """The user's module."""
        return [self.module]

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Let every part draw its own initial parameters, from a seed that ``generator`` gives.

        Parts that cannot (parameters of a module without ``reset_parameters``) go back to the values that they were given
        with; with ``keep_weights`` all do.
        """
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        if not self.keep_weights:
            with torch.random.fork_rng(_cuda_devices(self.module)):
                torch.manual_seed(seed)
                for _, part in _parts(self.module):
                    if (reset := _reset_of(part)) is not None:
                        reset()
        tensors = _tensors(self.module)
        for name, value in self._given.items():
            tensors[name].copy_(value)

    def extra_repr(self) -> str:
        return f"{self.in_shape} -> {self.out_shape}"


def _check_parameters(module: nn.Module, name: str) -> None:
    named = list(module.named_parameters())
    if not named:
        raise UsageError(f"{name} has no parameters, so it has nothing to learn; join it to the block before it (nn.Sequential)")
    frozen = [parameter for parameter, value in named if not value.requires_grad]
    if frozen:
        raise UsageError(f"{name} has a frozen parameter {frozen[0]!r}; set requires_grad=True, or register it as a buffer")


def _cuda_devices(module: nn.Module) -> list[torch.device]:
    return list({tensor.device for tensor in _tensors(module).values() if tensor.device.type == "cuda"})


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The module's parts with their names, children before parents (attention re-draws what its linear maps have drawn)."""
    return sorted(module.named_modules(), key=lambda part: -part[0].count(".") if part[0] else 1)


def _reset_of(part: nn.Module):
    """The method that draws a part's initial values; torch's attention hides its own behind an underscore.

    None for a part whose weight is computed (pruned, weight-normalised): the method would fill the result, and not what learns.
    """
    if is_computed(part):
        return None
    return getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)


def _drawn_anew(module: nn.Module) -> set[str]:
    """Names of the tensors that belong to a part which draws its own."""
    names: set[str] = set()
    for path, part in _parts(module):
        if _reset_of(part) is not None:
            direct = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
            names |= {f"{path}.{name}" if path else name for name, _ in direct}
    return names
