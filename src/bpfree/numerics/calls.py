"""A call that a step makes, and the tensors in what it was given and returned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor
from torch._ops import OpOverload

__all__ = ["Call", "mapped", "mapped_options", "storage_of", "tensors_in"]


@dataclass(frozen=True)
class Call:
    """One call: what it wrote into its arguments, or returned in ``results``.

    Attributes:
        is_prepared: ``function`` returns what is called.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    results: tuple[Tensor, ...]
    is_prepared: bool = False

    def tensors(self) -> Iterator[Tensor]:
        """All that it reads or writes."""
        return tensors_in((self.arguments, tuple(self.options.values()), self.results))

    def written(self) -> Iterator[Tensor]:
        """Arguments that an operation of torch writes to."""
        if isinstance(self.function, OpOverload):
            for k, name in _writes(self.function):
                yield from tensors_in(self.arguments[k] if k < len(self.arguments) else self.options.get(name))


@cache
def _writes(function: OpOverload) -> tuple[tuple[int, str], ...]:
    """Place and name of each argument that it writes to."""
    arguments = enumerate(function._schema.arguments)
    return tuple((k, each.name) for k, each in arguments if each.alias_info is not None and each.alias_info.is_write)


def tensors_in(given: Any) -> Iterator[Tensor]:
    """Those in nested lists and tuples."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for each in given:
            yield from tensors_in(each)


def mapped(function: Callable[[Tensor], Tensor], given: Any) -> Any:
    """A copy of nested lists and tuples, with ``function`` of their tensors."""
    if isinstance(given, Tensor):
        return function(given)
    return type(given)(mapped(function, each) for each in given) if isinstance(given, list | tuple) else given


def mapped_options(function: Callable[[Tensor], Tensor], options: dict[str, Any]) -> dict[str, Any]:
    return {name: mapped(function, value) for name, value in options.items()}


def storage_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
