"""What users hand over as an array: read with its meaning, or refused by name with the cure.

Lists, numpy arrays of any layout and byte order, memory-mapped files, torch tensors, lists of tensors, and tables and columns of
pandas are read. What ``numpy.asarray`` would take with its meaning lost (masked entries, sparse matrices, dates, text, complex
numbers, several fields in one value) is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray

from bpfree.errors import DataError

__all__ = ["Array", "as_array", "check_numbers", "check_same_index"]

Array = NDArray[Any]

_TORCH_AS_FLOAT = {torch.bfloat16}
"""Types of torch that numpy does not have, all of whose values float32 has."""


def as_array(values: Any, what: str, name: str) -> Array:
    """``values`` as a plain numpy array in the byte order of this machine, copied only where it must be.

    Args:
        what: ``"x"``, ``"y"``: for messages.
        name: of the data set, for messages.

    Raises:
        DataError: values that are no array, or whose meaning the array would not have.
    """
    where = f"{name}: {what}"
    if isinstance(values, list | tuple) and values:
        values = _of_parts(values, where)
    if isinstance(values, torch.Tensor):
        return _of_tensor(values, where)
    if isinstance(values, np.ma.MaskedArray):
        return _unmasked(values, where)
    if isinstance(values, torch.utils.data.Dataset | torch.utils.data.DataLoader):  # numpy would take its pairs for an array
        raise DataError(f"{where} is a {type(values).__name__} of torch; give its examples and its labels, as one tensor each")
    if type(values).__module__.partition(".")[0] in ("scipy", "sparse") and hasattr(values, "nnz"):
        raise DataError(f"{where} is a sparse matrix ({type(values).__name__}); give {what}.toarray()")
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O" and hasattr(values, "columns") and hasattr(values, "dtypes"):
            array = _of_table(values, where)
    except ValueError as error:
        raise DataError(f"{where} is not one rectangular array ({_first_line(error)}); make its rows equally long") from error
    except (TypeError, RuntimeError, NotImplementedError) as error:
        kind = type(values).__name__
        raise DataError(
            f"{where} is a {kind}, which numpy cannot read as an array ({_first_line(error)}); give a numpy array"
        ) from error
    if array.ndim == 0 and array.dtype.kind in "OUS":
        raise DataError(f"{where} is a {type(values).__name__}, not an array; give a numpy array, a torch tensor or lists")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)  # extended precision: its padding bytes would enter the digest
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_numbers(x: Array, name: str) -> None:
    """Refuse examples that are not bool, whole or floating numbers.

    Raises:
        DataError: naming the type and how it becomes numbers.
    """
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name}: x must hold numbers, got {_type_words(x.dtype)}; {_cure(x)}")


def check_same_index(x: Any, y: Any, name: str) -> None:
    """Refuse examples and labels of pandas whose rows have the same labels in another order: numpy would pair them by place.

    Raises:
        DataError: they have.
    """
    if not all(hasattr(values, "index") and hasattr(values, "iloc") for values in (x, y)) or len(x) != len(y):
        return
    if not x.index.equals(y.index) and x.index.is_unique and y.index.is_unique and set(x.index) == set(y.index):
        raise DataError(
            f"{name}: x and y have the same index in another order, and rows are paired by place; give y.loc[x.index]"
        )


def _of_parts(values: list[Any] | tuple[Any, ...], where: str) -> Any:
    """Lists of tensors or masked arrays, which numpy would read slowly, not at all, or without their masks."""
    if all(isinstance(value, torch.Tensor) for value in values):
        try:
            return torch.stack([value.detach() for value in values])
        except (RuntimeError, TypeError) as error:
            raise DataError(f"{where} is not one rectangular array ({_first_line(error)}); make its rows equally long") from error
    for value in values:
        if isinstance(value, np.ma.MaskedArray):
            _unmasked(value, where)
        elif hasattr(value, "nnz") and hasattr(value, "toarray"):
            raise DataError(f"{where} is a list of sparse matrices; give scipy.sparse.vstack of them, .toarray()")
    return values


def _of_tensor(tensor: torch.Tensor, where: str) -> Array:
    if tensor.layout != torch.strided or tensor.is_nested:
        cure = "a padded tensor (torch.nested.to_padded_tensor)" if tensor.is_nested else "its .to_dense()"
        raise DataError(f"{where} is a torch tensor of layout {tensor.layout}; give {cure}")
    if tensor.is_quantized:
        raise DataError(f"{where} is a quantized torch tensor; give its .dequantize()")
    if tensor.device.type == "meta":
        raise DataError(f"{where} is a torch tensor on the meta device, which holds no values; give one on the CPU")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype in _TORCH_AS_FLOAT:
        tensor = tensor.float()
    try:
        return tensor.numpy()
    except TypeError as error:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise DataError(f"{where} is a torch tensor of type {kind}, which numpy has not; give its .float()") from error


def _unmasked(values: np.ma.MaskedArray[Any, Any], where: str) -> Array:
    if masked := int(np.ma.count_masked(values)):
        raise DataError(
            f"{where} is a masked array with {masked} masked values; fill them in (its .filled(value)), or drop those examples"
        )
    return np.asarray(values)


def _of_table(table: Any, where: str) -> Array:
    """A table of pandas whose columns have several types: numbers, or a refusal that names the columns that are none."""
    others = [(column, kind) for column, kind in table.dtypes.items() if getattr(kind, "kind", "O") not in "biuf"]
    if others:
        shown = ", ".join(f"{column!r} ({kind})" for column, kind in others[:3]) + (", ..." if len(others) > 3 else "")
        raise DataError(
            f"{where} has columns that are no numbers: {shown}; drop them, or encode them (pandas.get_dummies), or give the "
            "table with its labels to bpfree.data.from_table(frame, target)"
        )
    return table.to_numpy(dtype=np.float64, na_value=np.nan)  # what is missing is reported as NaN


def _type_words(dtype: np.dtype[Any]) -> str:
    return f"a structured type with the fields {', '.join(dtype.names)}" if dtype.names else str(dtype)


def _cure(x: Array) -> str:
    kind = x.dtype.kind
    if x.dtype.names:
        return "give np.lib.recfunctions.structured_to_unstructured(x)"
    if kind == "O":
        return _cure_of_objects(x)
    cures = {
        "c": "give real and imaginary parts as values of their own: np.concatenate([x.real, x.imag], axis=1)",
        "M": "give a duration as a number: (x - x.min()) / np.timedelta64(1, 'D')",
        "m": "give it as a number: x / np.timedelta64(1, 's')",
        "V": "give x.astype(np.float32)",
    }
    return cures.get(kind, "if they are numbers written as text, give x.astype(np.float32); encode words (pandas.get_dummies)")


def _cure_of_objects(x: Array) -> str:
    flat = x.reshape(len(x), -1)
    for example, row in enumerate(flat):
        for value in row:
            if isinstance(value, np.ndarray | list | tuple | torch.Tensor):
                return "its rows are arrays of their own: give np.stack(list(x)), all of one shape"
            if not isinstance(value, bool | int | float | np.number | np.bool_) or isinstance(value, complex):
                shown = repr(value)[:40]
                return f"the first that is no number is {shown} in example {example}: fill it in, encode it, or drop that example"
    return "all are numbers: give x.astype(np.float64)"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
