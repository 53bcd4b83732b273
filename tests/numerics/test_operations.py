"""A step as a list of operations: what is repeated is what was called, on the numbers of now, in the memory of then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bpfree.numerics.host import update_by_host
from bpfree.numerics.operations import Operations, as_list, recording
from bpfree.numerics.streams import integers, stream_key, uniform

X = torch.arange(12, dtype=torch.float32).reshape(3, 4)


def record(make: Callable[[], Tensor], constants: Sequence[Tensor] = ()) -> tuple[Tensor, Operations | str]:
    with recording() as recorder:
        result = make()
    return result, as_list(recorder, result, constants)


def listed(make: Callable[[], Tensor], constants: Sequence[Tensor] = ()) -> Operations:
    _, operations = record(make, constants)
    assert isinstance(operations, Operations), operations
    return operations


def test_a_repetition_reads_the_numbers_of_now() -> None:
    x, w = X.clone(), torch.eye(4)

    def make() -> Tensor:
        return (x @ w.t()).relu().sum(1)

    result, operations = record(make)
    assert isinstance(operations, Operations)
    assert result.tolist() == [6.0, 22.0, 38.0]
    x.neg_()
    x[0] = torch.tensor([1.0, -2.0, 3.0, -4.0])
    w.mul_(2)
    assert operations.repeat().tolist() == [8.0, 0.0, 0.0]
    assert result.tolist() == [6.0, 22.0, 38.0]


def test_what_is_written_in_place_is_written_again() -> None:
    x, total = X.clone(), torch.zeros(4)

    def make() -> Tensor:
        total.add_(x.sum(0))
        return total.clone()

    operations = listed(make)
    assert total.tolist() == [12.0, 15.0, 18.0, 21.0]
    assert operations.repeat().tolist() == [24.0, 30.0, 36.0, 42.0]
    assert total.tolist() == [24.0, 30.0, 36.0, 42.0]


def test_views_are_made_once() -> None:
    x = X.clone()
    operations = listed(lambda: x.t().reshape(2, 6)[1] + 1)
    assert len(operations.calls) == 2  # the copy of the transposed matrix, and the sum
    x[:, 3] = 0.0
    assert operations.repeat().tolist() == [3.0, 7.0, 11.0, 1.0, 1.0, 1.0]


def test_a_view_that_torch_calls_new_is_a_view() -> None:
    """``matmul`` of three axes ends in ``_unsafe_view``, whose schema names no argument that shares its memory."""
    mask, x = torch.eye(2), torch.arange(12, dtype=torch.float32).reshape(3, 2, 2)
    operations = listed(lambda: ((x @ mask) @ mask).sum((1, 2)))
    x.mul_(2)
    mask.mul_(3)
    assert operations.repeat().tolist() == [108.0, 396.0, 684.0]


def test_memory_that_is_read_no_more_is_used_again() -> None:
    x = torch.ones(1000)

    def make() -> Tensor:
        y = x
        for _ in range(10):
            y = y + 1
        return y

    operations = listed(make)
    assert operations.n_bytes == 2 * 4000  # one that is read, one that is written
    assert operations.repeat()[0] == 11.0


def test_memory_that_is_read_later_is_not_used_again() -> None:
    x = torch.ones(4)

    def make() -> Tensor:
        first, second = x + 1, x + 2
        return torch.stack([first * second, first, second])

    operations = listed(make)
    x.fill_(2)
    assert operations.repeat()[:, 0].tolist() == [12.0, 3.0, 4.0]


def test_zeros_are_zeros_each_time() -> None:
    x = torch.ones(2)

    def make() -> Tensor:
        sums = x.new_zeros(2)
        return sums.add_(x)

    operations = listed(make)
    assert [operations.repeat().tolist() for _ in range(3)] == [[1.0, 1.0]] * 3


def test_what_returns_new_tensors_beside_writing_is_copied() -> None:
    """BatchNorm writes its running statistics, and returns the activity."""
    x, mean, variance = torch.randn(8, 3), torch.zeros(3), torch.ones(3)
    twin = mean.clone(), variance.clone()

    def make(mean: Tensor, variance: Tensor) -> Tensor:
        return torch.nn.functional.batch_norm(x, mean, variance, training=True).relu()

    operations = listed(lambda: make(mean, variance))
    make(*twin)
    x.copy_(torch.randn(8, 3))
    assert torch.equal(operations.repeat(), make(*twin))
    assert torch.equal(mean, twin[0])
    assert torch.equal(variance, twin[1])


def test_what_the_host_computes_is_computed_again() -> None:
    key = torch.tensor(stream_key(1))
    operations = listed(lambda: integers(key, (5,), 100) + uniform(key, (5,)))
    key.fill_(stream_key(2))
    assert torch.equal(operations.repeat(), integers(key, (5,), 100) + uniform(key, (5,)))


def test_an_update_by_the_host_is_prepared_once() -> None:
    x, prepared = torch.ones(2), []

    def prepare(tensor: Tensor) -> Callable[[], None]:
        prepared.append(tensor.data_ptr())

        def add_one() -> None:
            tensor.add_(1)

        return add_one

    def make() -> Tensor:
        update_by_host(prepare, x)
        return x + 0

    operations = listed(make)
    assert operations.repeat().tolist() == [3.0, 3.0]
    assert operations.repeat().tolist() == [4.0, 4.0]
    assert prepared == [x.data_ptr()] * 2  # for the step itself, and for the list
    assert len(operations.calls) == 2  # what it calls of torch is not called by itself too


def test_autograd_is_recorded() -> None:
    x = torch.tensor([1.0, 2.0])

    def make() -> Tensor:
        with torch.enable_grad():
            leaf = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad((leaf**3).sum(), leaf)
        return gradient

    operations = listed(make)
    x.mul_(2)
    assert operations.repeat().tolist() == [12.0, 48.0]


def test_a_step_that_reads_a_value_is_no_list() -> None:
    x = torch.ones(2)
    result, reason = record(lambda: x * 2 if float(x.sum()) > 1 else x)
    assert result.tolist() == [2.0, 2.0]
    assert isinstance(reason, str)
    assert "_local_scalar_dense" in reason


def test_recording_loads_no_compiler() -> None:
    program = (
        "import sys, torch; from bpfree.numerics.operations import recording\nwith recording(): torch.ones(2) + 1\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"


PROGRAMS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(program=PROGRAMS)
@pytest.mark.parametrize("n_constant", [0, 1, 2])
def test_any_program_is_repeated(n_constant: int, program: list[tuple[int, int, int]]) -> None:
    """Additions, products, transposed and sliced views, sums, writing in place, in any order; inputs constant or not."""
    inputs = [X.clone(), X.flip(0).contiguous()]

    def make() -> Tensor:
        values = [each.clone() for each in inputs]
        for kind, one, two in program:
            a, b = values[one % len(values)], values[two % len(values)]
            if kind == 0:
                values.append(a + b)
            elif kind == 1:
                values.append(torch.mm(a, b.t()).mm(X) / 100)
            elif kind == 2:
                values.append(a[:, :2].repeat(1, 2))
            elif kind in (3, 5) and 0 in a.stride():
                continue  # torch refuses to write where numbers share memory
            elif kind == 3:
                a.add_(b, alpha=0.5)
            elif kind == 4:
                values.append(a.sum(1, keepdim=True).expand(3, 4))
            elif kind == 5:
                a[1:].copy_(b[:2].clone())
            else:
                values.append(a.t().contiguous().t())
        return torch.stack(values)

    operations = listed(make, inputs[:n_constant])
    for each in inputs:
        each.mul_(-0.5).add_(1)
    assert torch.equal(operations.repeat(), make())
    assert torch.equal(operations.repeat(), make())


def test_results_are_written_to_their_places_without_a_copy() -> None:
    """By torch's bindings, or by the overload that takes a tensor for the result; else by a copy."""
    x, labels = X.clone(), torch.tensor([0, 1, 2])
    weight = torch.randn(4, 4)

    def make() -> Tensor:
        logs = torch.log_softmax((x @ weight).exp(), 1)
        loss, _ = torch.ops.aten.nll_loss_forward.default(logs, labels, None, 1, -100)
        return loss + torch.linalg.qr(x)[1].sum()

    functions = [getattr(call, "func", call) for call in listed(make).calls]
    aten = torch.ops.aten
    assert functions == [
        *(torch.mm, torch.exp, torch._log_softmax, aten.nll_loss_forward.output),
        *(aten.linalg_qr.out, aten.sum.out, torch.add),
    ]


def test_truth_values_may_be_chosen_by_numbers() -> None:
    """A mask decides how much is chosen; whole numbers do not, whatever they choose from."""
    truths, places = torch.tensor([True, False, True]), torch.tensor([0, 1])
    operations = listed(lambda: truths[places])
    places.add_(1)
    assert operations.repeat().tolist() == [False, True]


def test_a_sum_of_all_numbers_is_written_to_its_place() -> None:
    x = X.clone()
    operations = listed(lambda: x.sum() * 2)
    x.add_(1)
    assert operations.repeat().item() == 156.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_number_formats_stay(dtype: torch.dtype) -> None:
    x = torch.ones(3, dtype=dtype)
    operations = listed(lambda: x + x)
    assert operations.repeat().dtype == dtype


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda x: x[x > 1].sum(), "values decide how much"),
        (lambda x: torch.masked_select(x, x > 1).sum(), "values decide how much"),
        (lambda x: x * 2 if torch.equal(x, x.abs()) else x, "it reads a value"),
        (lambda x: x + torch.rand(4, generator=torch.Generator().manual_seed(1)), "a generator of its own"),
        (lambda x: torch.fft.fft(x).conj().imag + 1, "another sign"),
        (lambda x: torch.sparse.mm(torch.eye(3).to_sparse(), x), "storage"),
    ],
)
def test_what_no_list_can_repeat(make: Callable[[Tensor], Tensor], why: str) -> None:
    """The second repetition would read as many numbers as the first; the step itself goes on undisturbed."""
    result, reason = record(lambda: make(X))
    assert torch.equal(result, make(X))
    assert isinstance(reason, str)
    assert why in reason


def test_an_index_of_numbers_is_repeated() -> None:
    x, index = X.clone(), torch.tensor([2, 0])
    operations = listed(lambda: x[index].sum(1))
    index.fill_(1)
    assert operations.repeat().tolist() == [22.0, 22.0]


def test_a_step_that_makes_too_much_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpfree.numerics.recorder.RECORDED_BYTES", 2 * X.nbytes)
    assert isinstance(record(lambda: (X + 1) + 1)[1], Operations)
    result, reason = record(lambda: ((X + 1) + 1) + 1)
    assert torch.equal(result, X + 3)
    assert reason == f"it makes more than {2 * X.nbytes} bytes"


def test_what_is_written_outside_of_the_list_is_known() -> None:
    mine, other, x = torch.zeros(4), torch.zeros(4), X.clone()

    def make() -> Tensor:
        mine.add_(x[0])
        torch.add(other, x[1], out=other)
        return (x + 1).mul_(2)

    operations = listed(make)
    assert operations.writes_only([mine, other])
    assert not operations.writes_only([mine])


def test_a_copy_is_one_call_and_memory_alone_is_none() -> None:
    x = X.clone()

    def make() -> Tensor:
        place = x.new_empty(4, 3)
        return place.copy_(x.t().clone(memory_format=torch.contiguous_format)) + torch.empty_like(x.t()).fill_(1.0)

    operations = listed(make)
    assert len(operations.calls) == 4  # clone, copy_, fill_, add
    x.mul_(3)
    assert torch.equal(operations.repeat(), x.t() + 1)
