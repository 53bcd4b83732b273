"""What the parameters of a net must be so that a rule can train them: real numbers of one format, free to learn."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bpfree.errors import UsageError
from bpfree.nets.chain import Chain

__all__ = ["FORMATS", "check_parameters"]

FORMATS = (torch.float32, torch.float64, torch.bfloat16)
"""Number formats in which a net can be trained."""


def check_parameters(net: Chain) -> None:
    """Refuse a net of which a parameter cannot learn as the rules would have it.

    Raises:
        UsageError: a number format in which no net is trained, formats that differ, a parameter that is frozen
            (``requires_grad=False``), that holds no values (``meta``) or that was made under ``torch.inference_mode``; naming the
            block and the cure.
    """
    for place, parameter in _named(net):
        if parameter.is_meta:
            raise UsageError(
                f"{place} is on the meta device, which holds no values; use net.to_empty(device='cpu'), or build it on another"
            )
        if parameter.dtype == torch.float16:
            raise UsageError(
                f"{place} is float16, in which small gradients become 0 and large activities infinite without loss scaling, "
                "which no rule has; use net.bfloat16() or net.float()"
            )
        if parameter.dtype not in FORMATS:
            known = ", ".join(_word(dtype) for dtype in FORMATS)
            raise UsageError(f"{place} is {_word(parameter.dtype)}; a net is trained in {known}: use net.float()")
        if parameter.dtype != net.dtype:
            raise UsageError(
                f"{place} is {_word(parameter.dtype)} and the output is {_word(net.dtype)}; give the whole net one number "
                "format: net.float(), net.double() or net.bfloat16()"
            )
        if not parameter.requires_grad:
            raise UsageError(
                f"{place} is frozen (requires_grad=False), but every block of a net learns; set requires_grad=True, or put the "
                "frozen part in front of the data"
            )
        if parameter.is_inference():
            raise UsageError(
                f"{place} was made under torch.inference_mode(), and torch refuses to change it; build the net outside of it"
            )


def _named(net: Chain) -> Iterator[tuple[str, Tensor]]:
    for k, block in enumerate(net):
        for name, parameter in block.named_parameters():
            yield f"block {k} ({block.title}): {name}", parameter
    for name, parameter in net.output.named_parameters():
        yield f"the output: {name}", parameter


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
