"""The kernels of torch that a piece of code calls, in order, with their arguments."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Calls(TorchDispatchMode):
    """Notes every call while the block runs: ``made`` has (name, arguments), the name such as ``aten.relu_.default``."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.made.append((str(func), args))
        return func(*args, **(kwargs or {}))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.made]

    def count(self, words: str) -> int:
        """Calls whose name has these words."""
        return sum(words in name for name in self.names)

    def images(self, words: str) -> list[Tensor]:
        """The floating tensors of four axes that these calls were given."""
        given = [each for name, args in self.made if words in name for each in args if isinstance(each, Tensor)]
        return [each for each in given if each.dim() == 4 and each.is_floating_point()]
