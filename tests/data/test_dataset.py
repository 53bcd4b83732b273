"""Batches: pure in their arguments, each example once, normalised on the device; views of a data set."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfree.data import Batch, Dataset, TestSplitError, from_arrays, load
from bpfree.data.stored import Examples, Normalisation
from bpfree.errors import BpfreeError, DeviceError, UnknownNameError, UsageError
from bpfree.numerics.streams import stream_key


def numbered(n: int) -> Dataset:
    """A data set whose every example is its own number, so that a batch shows which examples it took."""
    part = Examples(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n) % 3)
    splits = {"train": part, "validation": part, "test": part}
    return Dataset(name="numbered", n_classes=3, in_shape=(1,), split_digest="", note="", splits=splits)


def taken(data: Dataset, split: str, size: int, **options) -> list[int]:
    return [int(v) for batch in data.batches(split, size, **options) for v in batch.x[:, 0]]


@given(
    n=st.integers(1, 60),
    part=st.floats(0.01, 1.0),
    seed=st.integers(-(2**40), 2**40),
    pass_index=st.integers(0, 10**6),
    shuffle=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_every_example_comes_exactly_once(n, part, seed, pass_index, shuffle):
    size = max(1, int(part * n))
    data = numbered(n)
    batches = list(data.batches("train", size, seed=seed, pass_index=pass_index, shuffle=shuffle))
    order = [int(v) for batch in batches for v in batch.x[:, 0]]
    assert sorted(order) == list(range(n))
    assert [len(b.y) for b in batches[:-1]] == [size] * (n // size - (n % size == 0))
    assert all(torch.equal(b.y, b.x[:, 0].long() % 3) for b in batches), "labels go with their examples"
    if not shuffle:
        assert order == list(range(n))


@given(seed=st.integers(0, 2**62), pass_index=st.integers(0, 1000), size=st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_same_arguments_give_the_same_batches(seed, pass_index, size):
    data = numbered(40)
    first = list(data.batches("train", size, seed=seed, pass_index=pass_index))
    second = list(data.batches("train", size, seed=seed, pass_index=pass_index))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
        assert torch.equal(one.key, other.key)


def test_pass_and_seed_change_the_order_and_split_of_work_does_not():
    data = numbered(50)
    order = taken(data, "train", 7)
    assert taken(data, "train", 7, pass_index=1) != order
    assert taken(data, "train", 7, seed=1) != order
    assert taken(data, "train", 13) == order, "the batch size does not change the order"


def test_the_order_does_not_hang_on_or_move_the_global_generator():
    data = numbered(50)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = taken(data, "train", 7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert taken(data, "train", 7) == first


_SUM = """
import hashlib
from bpfree.data import load
sha = hashlib.sha256()
for name in ("digits", "synthetic:n=300:inputs=3x8x8:classes=3"):
    data = load(name).augmented("crop-flip")
    sha.update(data.split_digest.encode())
    for b in data.batches("train", 50, seed=3, pass_index=2):
        for t in (b.x, b.y, b.key):
            sha.update(t.numpy().tobytes())
print(sha.hexdigest())
"""


def test_another_process_gives_the_same_batches():
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        exec(_SUM, {})
    there = subprocess.run(
        [sys.executable, "-c", _SUM],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "2", "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout == here.getvalue()
    assert len(here.getvalue()) == 65


def test_a_batch_carries_the_key_of_seed_pass_and_batch(table):
    for k, batch in enumerate(table.batches("train", 20, seed=5, pass_index=3)):
        assert isinstance(batch, Batch)
        assert batch.key.shape == ()
        assert batch.key.dtype == torch.int64
        assert int(batch.key) == stream_key(5, 3, k)


def test_shapes_and_types_of_a_batch(images):
    batch = next(images.batches("validation", 4, shuffle=False))
    assert batch.x.shape == (4, 3, 12, 10)
    assert batch.x.dtype == torch.float32
    assert batch.y.dtype == torch.int64
    assert images.splits["train"].x.dtype == torch.uint8, "pixels stay uint8 on the device"


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("fixture", ["table", "images"])
def test_painting_into_a_batch_does_not_reach_the_data(fixture, shuffle, request):
    data = request.getfixturevalue(fixture)
    clean = [b.x.clone() for b in data.batches("train", 8, shuffle=shuffle)]
    for batch in data.batches("train", 8, shuffle=shuffle):
        batch.x.zero_()
        batch.y.zero_()
    again = list(data.batches("train", 8, shuffle=shuffle))
    assert all(torch.equal(one, other.x) for one, other in zip(clean, again, strict=True))
    assert any(b.y.any() for b in again)


def test_normalisation_is_that_of_the_formula():
    pixels = torch.arange(0, 250, 10, dtype=torch.uint8).reshape(1, 1, 5, 5).repeat(3, 2, 1, 1)
    part = Examples(pixels, torch.arange(3))
    data = Dataset(
        name="p",
        n_classes=3,
        in_shape=(2, 5, 5),
        split_digest="",
        note="",
        splits={"train": part},
        normalisation=Normalisation.of((0.1307, 0.5), (0.3081, 0.25), 255.0),
    ).to("cpu", torch.float64)
    x = next(data.batches("train", 3, shuffle=False)).x
    scaled = pixels.double() / 255
    torch.testing.assert_close(x[:, 0], (scaled[:, 0] - 0.1307) / 0.3081)
    torch.testing.assert_close(x[:, 1], (scaled[:, 1] - 0.5) / 0.25)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_to_another_floating_type(images, dtype):
    other = images.to("cpu", dtype)
    assert (images.dtype, other.dtype) == (torch.float32, dtype)
    for one, two in zip(images.batches("train", 10), other.batches("train", 10), strict=True):
        assert two.x.dtype == dtype
        torch.testing.assert_close(two.x.float(), one.x, atol=0.02, rtol=0.01)
    assert other.split_digest == images.split_digest


def test_to_meta_and_back_of_properties(table):
    assert table.device == torch.device("cpu")
    assert table.to("meta").device == torch.device("meta")


def test_no_such_device(table):
    absent = "cuda:99"
    with pytest.raises(DeviceError, match=r"cuda:99.*--device cpu") as caught:
        table.to(absent)
    assert "\n" not in str(caught.value)
    with pytest.raises(DeviceError, match="choose --device cpu"):
        table.to("gpu")


def test_a_type_that_is_not_floating(table):
    with pytest.raises(UsageError, match=r"int64.*choose float32"):
        table.to("cpu", torch.int64)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, None])
def test_batch_sizes_that_are_no_size(table, size):
    with pytest.raises(UsageError, match="batch size must be a whole number from 1"):
        table.batches("train", size)  # at the call, not at the first batch


def test_a_batch_larger_than_the_training_split(table):
    n = table.n("train")
    assert len(list(table.batches("train", n))) == 1
    with pytest.raises(UsageError, match=rf"batch size {n + 1} is larger .* has {n} examples.*--batch-size"):
        table.batches("train", n + 1)


def test_an_evaluation_split_smaller_than_the_batch_comes_whole(table):
    (batch,) = table.batches("validation", table.n("train"), shuffle=False)
    assert len(batch.y) == table.n("validation")


def test_unknown_split(table):
    for ask in (table.n, lambda split: table.batches(split, 1)):
        with pytest.raises(UnknownNameError, match=r"unknown split 'valid'; did you mean validation"):
            ask("valid")


def test_without_test_holds_no_test_example(table):
    view = table.without_test()
    assert set(view.splits) == {"train", "validation"}
    for ask in (view.n, lambda split: view.batches(split, 1), view.to("cpu").limited(20).n):
        with pytest.raises(TestSplitError, match=r"read once a run, by the measuring step") as caught:
            ask("test")
        assert isinstance(caught.value, BpfreeError)
    assert table.n("test") == 16, "the data set itself keeps it"
    assert view.split_digest == table.split_digest
    assert taken(view, "train", 10) == taken(table, "train", 10)


def test_limited():
    data = load("digits")
    small, smaller = data.limited(500), data.limited(100)
    assert (small.name, small.n("train")) == ("digits[500]", 500)
    assert (small.n("validation"), small.n("test")) == (data.n("validation"), data.n("test"))
    assert len({data.split_digest, small.split_digest, smaller.split_digest}) == 3
    assert small.split_digest == load("digits").limited(500).split_digest
    whole = small.splits["train"].x.flatten(1).tolist()
    assert smaller.splits["train"].x.flatten(1).tolist() == whole[:100], "a smaller set lies within a larger"
    counts = smaller.splits["train"].y.bincount(minlength=10)
    assert counts.min() >= 9
    assert counts.max() <= 11
    assert "Limited to 500 of 1,077" in small.note
    assert data.limited(data.n("train")) is data


def test_limited_has_every_class_even_a_rare_one():
    y = np.array([0] * 300 + [1] * 4 + [2] * 50)
    data = from_arrays(np.random.RandomState(0).standard_normal((len(y), 2)), y)
    assert set(data.limited(3).splits["train"].y.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("n_train", [0, -5, 3, 10**6])
def test_limited_to_too_few_or_too_many(table, n_train):
    with pytest.raises(UsageError, match=rf"cannot limit arrays to {n_train} .* choose from 4 .* to 68"):
        table.limited(n_train)


def test_repr_says_what_it_is_and_shows_no_tensor(table):
    assert repr(table) == "Dataset(arrays: train 68, validation 16, test 16; (5,), 4 classes, on cpu)"


def test_a_last_batch_of_one_is_given():
    assert [len(b.y) for b in numbered(9).batches("train", 4)] == [4, 4, 1]


@pytest.mark.gpu
def test_on_the_gpu_as_on_the_cpu(images):
    on_gpu = images.augmented("crop-flip").to("cuda")
    for one, two in zip(images.augmented("crop-flip").batches("train", 10), on_gpu.batches("train", 10), strict=True):
        assert two.x.device.type == two.y.device.type == two.key.device.type == "cuda"
        torch.testing.assert_close(two.x.cpu(), one.x)
        assert torch.equal(two.y.cpu(), one.y)
        assert torch.equal(two.key.cpu(), one.key)
