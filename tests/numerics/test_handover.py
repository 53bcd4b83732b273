"""A tensor that is handed over is held by its taker alone, and only such a one is written over."""

from __future__ import annotations

import weakref

import pytest
import torch
from differences import numbers

from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.handover import Handover, taken


def test_it_is_taken_once_and_not_held_afterwards() -> None:
    given = Handover(torch.ones(3))
    tensor = given.take()
    alive = weakref.ref(tensor)
    del tensor
    assert alive() is None
    with pytest.raises(IndexError):
        given.take()


def test_only_what_was_handed_over_may_be_written_over_and_not_while_autograd_records() -> None:
    tensor = torch.ones(3)
    with torch.no_grad():
        assert taken(tensor) == (tensor, False)
        same, writable = taken(Handover(tensor))
        assert same is tensor
        assert writable
    assert not taken(Handover(tensor))[1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_in_place_gives_the_same_bits(name: str, dtype: torch.dtype) -> None:
    """For lengths that fill the vector registers and lengths that do not."""
    activation = ACTIVATIONS[name]
    for n in (1, 5, 64, 333):
        z, delta = numbers(n, 7).to(dtype), numbers(n, 7, seed=1).to(dtype)
        z[0, 0] = torch.nan
        a = activation.apply(z)
        expected = activation.gradient(delta, a)
        copy = delta.clone()
        given = activation.gradient_(copy, a)
        assert given.data_ptr() == copy.data_ptr()
        assert torch.equal(given.nan_to_num(7.0), expected.nan_to_num(7.0))
        copy = z.clone()
        assert activation.apply_(copy).data_ptr() == copy.data_ptr()
        assert torch.equal(copy.nan_to_num(7.0), a.nan_to_num(7.0))
