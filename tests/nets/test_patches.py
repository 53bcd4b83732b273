"""Nets of patches: shapes, and that FOTON takes them without a warning."""

from __future__ import annotations

import warnings

import pytest

from bpfree.algorithms import Foton, check_net
from bpfree.errors import UsageError
from bpfree.nets.patches import PATCH_FAMILIES, patches
from bpfree.nets.spec import Spec


@pytest.mark.parametrize(
    ("in_shape", "shapes"), [((3, 32, 32), [(48, 8, 8), (192, 4, 4), (512,)]), ((1, 28, 28), [(16, 7, 7), (64, 3, 3), (512,)])]
)
def test_default_net_suits_foton(in_shape: tuple[int, ...], shapes: list[tuple[int, ...]]) -> None:
    builder, help_line = PATCH_FAMILIES["patches"]
    net = builder(Spec("patches"), in_shape, 10)
    assert [block.out_shape for block in net] == shapes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_net(Foton(), net)
    assert "\n" not in help_line


def test_words_and_options() -> None:
    builder, _ = PATCH_FAMILIES["patches"]
    spec = Spec("patches:12-9:activation=tanh:pool=average")
    net = builder(spec, (3, 16, 16), 4)
    spec.close()
    assert [block.out_shape for block in net] == [(12, 2, 2), (9,)]
    assert net[1].activation == "tanh"
    assert [block.out_shape for block in patches((3, 12, 12), (9, 7), 4, strides=(3,))] == [(9, 4, 4), (7,)]


def test_overlap_widens_patches_and_foton_takes_them() -> None:
    builder, _ = PATCH_FAMILIES["patches"]
    for in_shape, shapes in (((3, 32, 32), [(48, 7, 7), (192, 3, 3), (512,)]), ((1, 28, 28), [(16, 6, 6), (64, 2, 2), (256,)])):
        net = builder(Spec("patches:overlap=1"), in_shape, 10)
        assert [block.out_shape for block in net] == shapes
        assert [tuple(block.conv.kernel_size) for block in net[:2]] == [(5, 5), (3, 3)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_net(Foton(), net)
    with pytest.raises(UsageError, match="overlap must be a whole number of at least 0, got '-1'"):
        builder(Spec("patches:overlap=-1"), (3, 32, 32), 10)


def test_tables_are_no_images() -> None:
    with pytest.raises(UsageError, match="takes images"):
        patches((12,), (9, 7), 4)
