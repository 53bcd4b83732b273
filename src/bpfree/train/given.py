"""What a caller hands to training: the right kinds of objects, and data in the number format of the net."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bpfree.algorithms import Algorithm
from bpfree.data import Dataset, Loader, from_loaders
from bpfree.data.loaders import is_loader
from bpfree.errors import UsageError, unknown_name
from bpfree.meter import Meter
from bpfree.nets import Chain
from bpfree.rulesets import Patience

__all__ = [
    "as_checkpoint",
    "as_data",
    "batch_size_of",
    "check_callbacks",
    "check_data",
    "check_fits",
    "check_given",
    "check_mode",
    "check_options",
    "check_pair",
    "check_whole",
    "in_format_of",
]


def check_given(algorithm: object, net: object, data: object, stop: object = None) -> None:
    """Refuse an object of another kind than training takes, with the line that makes the right one.

    Args:
        stop: not looked at where it is None.

    Raises:
        UsageError: naming the argument, what was got and the cure.
    """
    check_pair(algorithm, net)
    if not is_loader(data):
        check_data(data)
    if not (stop is None or isinstance(stop, Patience) or callable(stop)):
        cure = f"Patience(10, max_passes={stop})" if isinstance(stop, int) else "Patience(10, max_passes=40)"
        raise UsageError(f"stop must be a bpfree.Patience, got {_a(stop)}; use bpfree.{cure}")


def check_pair(algorithm: object, net: object) -> None:
    """Refuse what is no rule or no net, as :func:`check_given` does."""
    _check_algorithm(algorithm)
    _check_net(net)


def _check_algorithm(algorithm: object) -> None:
    if isinstance(algorithm, Algorithm):
        return
    cure = "bpfree.algorithms.Backprop(lr=1e-3)"
    if isinstance(algorithm, str):
        cure = f"bpfree.algorithms.make({algorithm!r})"
    elif isinstance(algorithm, type) and issubclass(algorithm, Algorithm):
        cure = f"an instance: {algorithm.__name__}()"
    elif isinstance(algorithm, nn.Module):
        cure = "fit(algorithm, net, data, stop) takes the rule first"
    raise UsageError(f"algorithm must be a learning rule, got {_a(algorithm)}; use {cure}")


def _check_net(net: object) -> None:
    if isinstance(net, Chain):
        return
    cure = "build one with bpfree.nets.mlp(data.in_shape, (256, 256), data.n_classes)"
    if isinstance(net, nn.Sequential):
        cure = "split it into blocks first: bpfree.nets.from_module(net, data.in_shape)"
    elif isinstance(net, nn.Module):
        cure = "split it into blocks first: bpfree.nets.from_module(net, data.in_shape, stages=[...])"
    elif isinstance(getattr(net, "net", None), Chain):
        cure = "give its net: .net"
    elif isinstance(net, str):
        cure = f"bpfree.nets.build({net!r}, data.in_shape, data.n_classes)"
    raise UsageError(f"net must be a bpfree.nets.Chain, got {_a(net)}; {cure}")


def check_fits(net: Chain, data: Dataset) -> None:
    """Refuse data of other shapes or classes than those of the net.

    Raises:
        UsageError: naming both.
    """
    if net.in_shape != data.in_shape or net.n_classes != data.n_classes:
        raise UsageError(
            f"the net takes {net.in_shape} and has {net.n_classes} classes, but {data.name} has examples of "
            f"{data.in_shape} and {data.n_classes} classes; build the net for the data"
        )


def check_data(data: object) -> None:
    """Refuse what is no Dataset.

    Raises:
        UsageError: what was got, and the line that makes one.
    """
    if isinstance(data, Dataset):
        return
    cure = "make one of arrays: bpfree.data.from_arrays(x, y)"
    if isinstance(data, torch.utils.data.TensorDataset):
        cure = "bpfree.data.from_arrays(*dataset.tensors)"
    elif is_loader(data):
        cure = "bpfree.data.from_loaders(train, validation)"
    elif isinstance(data, torch.utils.data.Dataset):
        cure = "stack its examples: x, y = zip(*dataset), then bpfree.data.from_arrays(torch.stack(x), torch.tensor(y))"
    elif isinstance(data, str | Path):
        cure = f"bpfree.data.load({str(data)!r})"
    raise UsageError(f"data must be a bpfree Dataset, got {_a(data)}; {cure}")


def as_data(data: Dataset | Loader, validation: Loader | None, net: Chain) -> Dataset:
    """A data set as it is, or one of two loaders, on the device of the net.

    Raises:
        UsageError: a loader without a second one, or a second one beside a data set.
        DataError: what the loaders give cannot be learned from.
    """
    if isinstance(data, Dataset):
        if validation is not None:
            raise UsageError(f"validation is for loaders, and {data.name} has a validation split already; leave it out")
        return data
    if validation is None:
        raise UsageError(
            "a loader needs a second one, which ends training and chooses the best pass; give validation=DataLoader(...) "
            "(torch.utils.data.random_split divides a data set)"
        )
    loaded = from_loaders(data, validation, in_shape=net.in_shape, n_classes=net.n_classes)
    return loaded.to(net.device)


def batch_size_of(data: Dataset, asked: int | None, default: int) -> int:
    """Examples in a step: as asked, or as the data's loader gives them.

    Raises:
        UsageError: no whole number, or another size than that of the loader.
    """
    fixed = data.fixed_batch_size
    size = asked if asked is not None else fixed or default
    check_whole("batch_size", size, 1)
    if fixed is not None and size != fixed:
        raise UsageError(
            f"batch_size is {size}, but {data.name} gives batches of {fixed}; set it in the loader, and leave it out"
        )
    return size


def _a(value: object) -> str:
    """``a Sequential``, ``the class Backprop``, ``'mlp:2x8'``: what a value is, in a message."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str | int | float | None):
        return repr(value)
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def check_options(function: Callable[..., Any], options: Mapping[str, Any], meter: object = None) -> None:
    """Refuse options that ``function`` does not have or that are of another kind.

    Raises:
        UsageError: naming the option, what was got and the cure.
    """
    known = [name for name, each in inspect.signature(function).parameters.items() if each.kind is each.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise unknown_name("option of fit", name, [*known, "meter", "callbacks", "progress"])
    if not (meter is None or isinstance(meter, Meter)):
        raise UsageError(f"meter must be a bpfree.meter.Meter, got {_a(meter)}; use bpfree.meter.Meter.detect('cpu')")


def check_callbacks(callbacks: object) -> None:
    """Refuse what is no list of functions.

    Raises:
        UsageError: what was got, and the cure.
    """
    if callable(callbacks):
        raise UsageError(f"callbacks must be a list of functions, got {_a(callbacks)}; use callbacks=[...] around it")
    if not isinstance(callbacks, Sequence) or not all(callable(each) for each in callbacks):
        wrong = next((each for each in callbacks if not callable(each)), None) if isinstance(callbacks, Sequence) else callbacks
        raise UsageError(
            f"callbacks must be a list of functions, got {_a(wrong)}; each takes the Progress of a pass, and returns True to stop"
        )


def check_whole(what: str, value: object, least: int) -> None:
    """Refuse what is no whole number from ``least`` up.

    Raises:
        UsageError: naming the option, what was got and the cure.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{what} must be a whole number from {least} up, got {value!r}")


def as_checkpoint(checkpoint: object) -> Path | None:
    """The file of a checkpoint, which may be named by a string.

    Raises:
        UsageError: it is no path, or a directory.
    """
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, str | os.PathLike):
        raise UsageError(f"checkpoint must be the path of a file, got {_a(checkpoint)}; use pathlib.Path('run.safetensors')")
    path = Path(checkpoint)
    if path.is_dir():
        raise UsageError(f"checkpoint must be the path of a file, got the directory {path}; name a file in it")
    return path


def check_mode(device: torch.device) -> None:
    """Refuse modes of torch in which rules would not learn what they are said to.

    Raises:
        UsageError: within ``torch.inference_mode()`` or ``torch.autocast()``.
    """
    if torch.is_inference_mode_enabled():
        raise UsageError(
            "nothing can be trained within torch.inference_mode(): what is made there cannot learn; leave it, or use bpfree.fit, "
            "which leaves it by itself"
        )
    if torch.is_autocast_enabled(device.type):
        raise UsageError(
            "within torch.autocast() some products would be rounded and others not, differently from rule to rule; leave it, "
            "and use net.bfloat16() for a net in that number format"
        )


def in_format_of(net: Chain, data: Dataset) -> Dataset:
    """The data with batches in the number format of the net, which decides; pixels and features stay stored as they are.

    Raises:
        UsageError: another format than the usual float32 was asked for the data, and the net has a third.
    """
    if data.dtype == net.dtype:
        return data
    if data.dtype == torch.float32:
        return data.to(data.device, net.dtype)
    ours, theirs = (str(dtype).removeprefix("torch.") for dtype in (data.dtype, net.dtype))
    raise UsageError(
        f"{data.name} gives batches of {ours} and the net is {theirs}; use data.to(device, torch.{theirs}), or "
        f"net.to(torch.{ours})"
    )
