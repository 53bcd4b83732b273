"""Draws by row and of several keys, and draws that fall exactly on a border: masks, labels, partners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bpfree.numerics import negatives
from bpfree.numerics.dropout import consistent_mask
from bpfree.numerics.negatives import hard_labels, hybrid_images, smooth_masks, wrong_labels
from bpfree.numerics.rows import Rows, current_rows, mean_over_batch, of_batch
from bpfree.numerics.streams import integers, normal, stream_key, uniform

KEY = torch.tensor(stream_key(3, 1, 4))
F64 = torch.float64
Draw = Callable[[Tensor, tuple[int, ...]], Tensor]

DRAWS: dict[str, Any] = {
    "uniform": uniform,
    "normal": normal,
    "integers": lambda key, shape, **named: integers(key, shape, 9, **named),
}


@pytest.mark.parametrize("shape", [(), (5,), (5, 2)], ids=str)
@pytest.mark.parametrize("name", DRAWS)
def test_each_of_several_keys_draws_what_it_draws_alone(name: str, shape: tuple[int, ...]) -> None:
    keys = torch.stack([KEY, KEY + 1, KEY - 7])
    drawn = DRAWS[name](keys, shape, salt=2)
    assert drawn.shape == (3, *shape)
    assert torch.equal(drawn, torch.stack([DRAWS[name](key, shape, salt=2) for key in keys]))


def test_integers_of_any_shape_are_those_of_the_row() -> None:
    row = integers(KEY, (6,), 1000)
    assert torch.equal(integers(KEY, (2, 3), 1000), row.reshape(2, 3))
    assert int(integers(KEY, (), 1000)) == int(row[0])


@pytest.mark.parametrize("keys", [KEY, torch.stack([KEY, KEY + 1])], ids=["one", "several"])
@pytest.mark.parametrize("name", DRAWS)
def test_by_row_a_process_draws_behind_the_rows_before_its_own(name: str, keys: Tensor) -> None:
    draw, several = DRAWS[name], keys.ndim
    for shape in ((7,), (7, 3)):
        whole, part = draw(keys, shape, by_row=True), (4, *shape[1:])
        with of_batch(Rows(2, 0.5, lambda tensor: tensor)):
            mine, same, default = draw(keys, part, by_row=True), draw(keys, part, by_row=False), draw(keys, part)
        assert torch.equal(mine, whole.narrow(several, 2, 4))
        assert torch.equal(same, whole.narrow(several, 0, 4))
        assert torch.equal(default, same)


def test_what_is_drawn_for_each_example_is_drawn_by_row() -> None:
    """Masks and labels of rows 2 to 5 are those of the whole batch; blurred masks are of the batch that is given."""
    labels = torch.tensor([0, 3, 2, 1, 2, 0])
    scores = torch.arange(24, dtype=F64).reshape(6, 4).sin()
    rate = torch.tensor(0.4, dtype=F64)
    draws: list[Callable[[slice], Tensor]] = [
        lambda rows: consistent_mask(KEY, (len(labels[rows]), 5), 3, rate, F64),
        lambda rows: wrong_labels(labels[rows], 4, KEY),
        lambda rows: hard_labels(scores[rows], labels[rows], KEY),
    ]
    for draw in draws:
        whole = draw(slice(0, 6))
        with of_batch(Rows(2, 0.5, lambda tensor: tensor)):
            assert torch.equal(draw(slice(2, 6)), whole[2:])
            assert torch.equal(smooth_masks(KEY, 2, 6, 6, F64), smooth_masks(KEY, 2, 6, 6, F64))
    plain = smooth_masks(KEY, 2, 6, 6, F64)
    with of_batch(Rows(2, 0.5, lambda tensor: tensor)):
        assert torch.equal(smooth_masks(KEY, 2, 6, 6, F64), plain)


def test_rows_hold_within_the_block_alone() -> None:
    outer, inner = (Rows(first, 0.25, lambda tensor: tensor + 1) for first in (1, 2))
    assert current_rows() is None
    with of_batch(outer):
        with of_batch(inner):
            assert current_rows() is inner
        assert current_rows() is outer
        assert float(mean_over_batch(torch.tensor(8.0))) == 3.0
    assert current_rows() is None
    assert float(mean_over_batch(torch.tensor(8.0))) == 8.0


def test_a_number_that_equals_the_rate_keeps_its_unit() -> None:
    """Of numbers in [0, 1) a share of 1 - rate is at the rate or above."""
    drawn = uniform(KEY, (20,), salt=1)
    mask = consistent_mask(KEY, (20,), 0, drawn[7], torch.float32)
    assert bool(mask[7])
    assert int((mask != 0).sum()) == sum(float(u) >= float(drawn[7]) for u in drawn)


@pytest.mark.parametrize(("value", "chosen"), [(0.0, [1, 0, 0]), (1 - 2.0**-24, [2, 2, 1])])
def test_a_draw_at_the_end_of_its_range_chooses_a_wrong_class(
    value: float, chosen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negatives, "uniform", lambda key, shape, **_: torch.full(tuple(shape), value, dtype=F64))
    assert hard_labels(torch.zeros(3, 3), torch.tensor([0, 1, 2]), KEY).tolist() == chosen


def test_bits_and_masks_are_cut_below_one_half_and_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the bits are set, and the blur is the mean of all: no pixel is above one half."""
    checked = torch.tensor([[0.25, 0.5], [0.5, 0.25]], dtype=F64)
    monkeypatch.setattr(negatives, "uniform", lambda key, shape, **_: checked.expand(*shape))
    monkeypatch.setattr(negatives, "_blur", lambda size, device: torch.full((size, size), 1 / size))
    assert not smooth_masks(KEY, 1, 2, 2, F64).any()
    monkeypatch.setattr(negatives, "_blur", lambda size, device: torch.eye(size))
    assert smooth_masks(KEY, 1, 2, 2, F64).flatten().tolist() == [1.0, 0.0, 0.0, 1.0]


def test_the_partner_of_an_image_is_drawn_among_the_others_by_a_stream_of_its_own() -> None:
    """Salt 2: of twelve images, one to eleven places further on."""
    x = torch.arange(12, dtype=F64).reshape(12, 1, 1, 1).expand(12, 2, 4, 3)
    mask = smooth_masks(KEY, 12, 4, 3, F64)
    further = [1 + int(11 * u) for u in uniform(KEY, (12,), salt=2, dtype=F64)]
    assert len(set(further)) > 5
    partner = torch.tensor([float((k + step) % 12) for k, step in enumerate(further)], dtype=F64).reshape(12, 1, 1, 1)
    assert torch.equal(hybrid_images(x, KEY), torch.where(mask.bool(), x, partner))
