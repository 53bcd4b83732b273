"""Data-parallel training is training on the large batch: one step of every rule in float64, in ranks that are threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bpfree.algorithms import Addition, Algorithm, check_shares_rows, make, names, on_net, step, sums_over_examples
from bpfree.data import Batch, Dataset, from_loaders, load
from bpfree.errors import UsageError
from bpfree.nets import Chain, build, cnn
from bpfree.numerics.rows import Rows, mean_over_batch, of_batch
from bpfree.numerics.streams import integers, normal, uniform
from bpfree.parallel import Ranks
from bpfree.parallel.replica import Replica
from bpfree.parallel.rows import check_rows, cut, shared_step
from bpfree.train import initialise

SETTINGS = {
    "backprop": ("", "update=in-sweep", "checkpoint_every=1", "optimiser=sgd"),
    "cascaded-forward": ("", "blocks=dfa", "predictor=ridge", "predictor=sparsemax"),
    "deep-supervision": ("", "output=own"),
    "direct-feedback-alignment": ("", "target=labels"),
    "forward-forward": (
        "",
        "inference=head",
        "inference=head:negatives=hard",
        "loss=symba",
        "peer_normalisation=0.03",
        "optimiser=sgd:lr=0.1:peer_normalisation=30",
    ),
    "foton": ("", "memory=low:dropout=0.3", "optimiser=sgd:output=orthonormal:orthogonalise_every=1", "loss=squared-error"),
    "frozen": ("", "readout=all"),
    "mono-forward": ("", "chunk=7", "raw_projection=true"),
    "pepita": ("", "mirroring=true:premirror_steps=1:dropout=0.2", "presynaptic=mixed"),
    "sign-symmetry": ("", "variant=brsf"),
}
"""Beside the plain rule, what reads a batch in a way of its own."""

CASES = [f"{name}:{settings}".rstrip(":") for name in names() for settings in SETTINGS.get(name, ("",))]
CNNS = [f"{name}@cnn" for name in ("mono-forward", "spatial-goodness", "forward-forward", "backprop")]
N = 15


class _Threads:
    """Ranks in one process: what each of them adds up, all wait for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._barrier = threading.Barrier(size, timeout=20)
        self._given: dict[int, Tensor] = {}

    def total(self, rank: int, tensor: Tensor) -> Tensor:
        self._given[rank] = tensor.clone()
        self._barrier.wait()
        tensor.copy_(sum(self._given[each] for each in range(self.size)))
        self._barrier.wait()
        return tensor

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        """``work`` of every rank; what it returned, or the error of the first that failed."""
        results: dict[int, Any] = {}

        def of_rank(rank: int) -> None:
            try:
                results[rank] = work(rank)
            except BaseException as error:  # noqa: BLE001 - shown in the thread of the test
                results[rank] = error
                self._barrier.abort()

        threads = [threading.Thread(target=of_rank, args=(rank,)) for rank in range(self.size)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        errors = [each for each in results.values() if isinstance(each, BaseException)]
        for error in sorted(errors, key=lambda each: isinstance(each, threading.BrokenBarrierError)):
            raise error
        return [results[rank] for rank in range(self.size)]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits").without_test().to("cpu", torch.float64)


def _made(case: str, data: Dataset) -> tuple[Algorithm[Any], Chain, Any]:
    case, _, net_name = case.partition("@")
    name, *pairs = case.split(":")
    rule = make(name, dict(pair.split("=") for pair in pairs))
    shapes = data.in_shape, data.n_classes
    net = (cnn(shapes[0], (3, 4), shapes[1]) if net_name else build("mlp:2x12", *shapes)).double()
    return rule, net, initialise(rule, net, 0)


def _batches(data: Dataset, n: int, weighted: bool, k: int = 2) -> list[Batch]:
    made = list(data.weighted("balanced" if weighted else None).batches("train", n, seed=4))[:k]
    if weighted:
        spread = torch.linspace(0.2, 3.0, n, dtype=torch.float64)  # digits are balanced already
        made = [Batch(batch.x, batch.y, batch.key, spread) for batch in made]
    return made


def _tensors(net: Chain, state: Any) -> dict[str, Tensor]:
    both = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    return both | {f"state.{name}": tensor for name, tensor in state.state_dict().items()}


def _shared(case: str, data: Dataset, batches: list[Batch], size: int) -> list[tuple[dict[str, Tensor], Tensor]]:
    """Every rank's tensors after a step on each batch in the last phase, and the sum of its parts of the losses."""
    threads = _Threads(size)
    made = [_made(case, data) for _ in range(size)]

    def work(rank: int) -> tuple[dict[str, Tensor], Tensor]:
        rule, net, state = made[rank]

        def total(tensor: Tensor) -> Tensor:
            return threads.total(rank, tensor)

        def begin(tensor: Tensor) -> Callable[[], None]:
            def wait() -> None:
                total(tensor)

            return wait

        addition = Addition(begin)
        loss = torch.zeros((), dtype=torch.float64)
        for batch in batches:
            given = Batch(batch.x.clone(), batch.y, batch.key, batch.weight)
            loss += shared_step(rule, net, state, given, rule.phases(net)[-1], addition, rank, size, total)
        for tensor in sums_over_examples(rule, state):
            total(tensor)
        return _tensors(net, state), loss

    return threads.run(work)


def _serial(case: str, data: Dataset, batches: list[Batch]) -> tuple[dict[str, Tensor], Tensor]:
    rule, net, state = _made(case, data)
    phase = rule.phases(net)[-1]
    losses = [step(rule, net, state, Batch(each.x.clone(), each.y, each.key, each.weight), phase).mean() for each in batches]
    return _tensors(net, state), torch.stack(losses).double().sum()


def _largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one if one[name].numel())


def _as_one(case: str, data: Dataset, batches: list[Batch], size: int) -> None:
    whole, loss = _serial(case, data, batches)
    _, net, state = _made(case, data)
    assert _largest_difference(whole, _tensors(net, state)) > 1e-5  # something was learned
    ranks = _shared(case, data, batches, size)
    for tensors, _ in ranks:
        assert _largest_difference(tensors, whole) < 1e-9
        assert all(torch.equal(tensor, ranks[0][0][name]) for name, tensor in tensors.items())
    assert float(sum(each for _, each in ranks)) == pytest.approx(float(loss), abs=1e-9)


@pytest.mark.parametrize("case", [*CASES, *CNNS])
def test_two_ranks_make_the_step_of_the_large_batch(case: str, digits: Dataset) -> None:
    """Net, heads, moments, running means and sums after two steps; or the rule says why not."""
    rule, net, _ = _made(case, digits)
    try:
        check_shares_rows(rule, net)
    except UsageError as error:
        assert case == "local-similarity", error
        return
    _as_one(case, digits, _batches(digits, N, weighted=False), 2)


@pytest.mark.parametrize("case", [case for case in CASES if ":" not in case and case != "local-similarity"])
def test_class_weights_weigh_the_ranks(case: str, digits: Dataset) -> None:
    _as_one(case, digits, _batches(digits, N, weighted=True), 2)


@pytest.mark.parametrize("case", ["mono-forward", "cascaded-forward:predictor=ridge", "forward-forward:peer_normalisation=0.03"])
def test_fewer_rows_than_ranks(case: str, digits: Dataset) -> None:
    """As in the last batch of a pass: a rank without a row changes nothing."""
    _as_one(case, digits, _batches(digits, N, weighted=False, k=1) + _batches(digits, 2, weighted=False, k=1), 3)


def test_every_gradient_is_sent_in_the_same_buckets(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small buckets, each sent while the next block is computed: the same result."""
    monkeypatch.setattr("bpfree.algorithms._addition.BUCKET_BYTES", 1000)
    _as_one("mono-forward", digits, _batches(digits, N, weighted=False), 2)


def test_pairs_of_a_batch_cannot_be_shared(digits: Dataset) -> None:
    """Why local-similarity is refused: its step on two parts is another one."""
    batches = _batches(digits, N, weighted=False, k=1)
    whole, _ = _serial("local-similarity", digits, batches)
    assert _largest_difference(_shared("local-similarity", digits, batches, 2)[0][0], whole) > 1e-5


REFUSED = {
    "local-similarity": "every pair of examples",
    "forward-forward:negatives=hybrid:inference=head": "mixes each image with another one of the batch",
    "foton:optimiser=rms": "divides the update of the whole batch by its size",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_the_whole_batch_is_refused(case: str, digits: Dataset) -> None:
    name, *pairs = case.split(":")
    rule, net = make(name, dict(pair.split("=") for pair in pairs)), build("mlp:2x12", digits.in_shape, digits.n_classes)
    with pytest.raises(UsageError, match=f"{name} cannot be trained data-parallel: .*{REFUSED[case]}"):
        check_rows(on_net(rule, net), net, digits, 64, 2)


def test_batch_norm_small_batches_and_loaders_are_refused(digits: Dataset) -> None:
    rule, net = make("mono-forward"), build("resnet8", digits.in_shape, digits.n_classes)
    with pytest.raises(UsageError, match=r"BatchNorm in block 0 .* use a net without BatchNorm, or one process"):
        check_rows(rule, net, digits, 64, 2)
    net = build("mlp:2x12", digits.in_shape, digits.n_classes)
    with pytest.raises(UsageError, match="3 ranks share each batch, and a batch has 2 examples; use --batch-size 3 or more"):
        check_rows(rule, net, digits, 2, 3)
    x, y = torch.rand(40, 1, 8, 8), torch.arange(40) % 10
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=10)
    with pytest.raises(UsageError, match="batches of a loader cannot be shared"):
        check_rows(rule, net, from_loaders(loader, loader), 10, 2)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 4, 15])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_cut_without_gap_or_overlap(n: int, size: int, weighted: bool) -> None:
    weight = torch.linspace(0.5, 2.0, n, dtype=torch.float64) if weighted else None
    batch = Batch(torch.arange(n).unsqueeze(1), torch.arange(n), torch.tensor(3), weight)
    parts = [cut(batch, rank, size, lambda tensor: tensor) for rank in range(size)]
    counted = [(mine, rows) for mine, rows, counts in parts if counts]
    assert torch.equal(torch.cat([mine.y for mine, _ in counted]), batch.y)
    assert all(rows.first == int(mine.y[0]) for mine, rows in counted)
    assert all(len(mine.y) >= 1 for mine, _, _ in parts)
    assert sum(float(rows.share) for _, rows, _ in parts) == pytest.approx(1.0)
    values = torch.sin(batch.y.double())
    means = [float(rows.share) * float(_mean(values[mine.y], mine.weight)) for mine, rows, _ in parts]
    assert sum(means) == pytest.approx(float(_mean(values, weight)))


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    return values.mean() if weight is None else (values * weight).sum() / weight.sum()


def test_draws_by_row_are_those_of_the_whole_batch() -> None:
    """On the host and by torch (several keys); what is not drawn by row is the same in every rank."""
    for key in (torch.tensor(11), torch.tensor([11, 12])):
        for draw in (
            lambda shape, by_row, key=key: uniform(key, shape, salt=2, by_row=by_row),
            lambda shape, by_row, key=key: normal(key, shape, salt=2, by_row=by_row),
            lambda shape, by_row, key=key: integers(key, shape[:1], 9, salt=2, by_row=by_row),
        ):
            whole = draw((6, 3), True)
            with of_batch(Rows(2, 0.5, lambda tensor: tensor)):
                part, same = draw((4, 3), True), draw((4, 3), False)
            rows = whole.movedim(key.ndim, 0)
            assert torch.equal(part.movedim(key.ndim, 0), rows[2:])
            assert torch.equal(same.movedim(key.ndim, 0), rows[:4])


def test_a_mean_over_the_batch() -> None:
    assert float(mean_over_batch(torch.tensor(3.0))) == 3.0
    with of_batch(Rows(0, 0.25, lambda tensor: tensor + 1)):
        assert float(mean_over_batch(torch.tensor(4.0))) == 2.0
    assert float(mean_over_batch(torch.tensor(3.0))) == 3.0


def test_a_step_that_fails_leaves_nothing_behind(digits: Dataset) -> None:
    """The next step of the same optimisers is their own."""
    rule, net, state = _made("mono-forward", digits)
    batch = _batches(digits, N, weighted=False, k=1)[0]
    addition = Addition(lambda tensor: pytest.fail("nothing is to be sent"))
    bad = Batch(batch.x[:, :, :4], batch.y, batch.key)
    with pytest.raises(RuntimeError):
        shared_step(rule, net, state, bad, rule.phases(net)[0], addition, 0, 2, lambda tensor: tensor)
    assert all(each.addition is None for each in state.optimisers())
    before = net[0].linear.weight.clone()
    step(rule, net, state, batch, rule.phases(net)[0])
    assert not torch.equal(net[0].linear.weight, before)


def test_ranks_that_differ_are_named(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that changes its state from its own rows alone is noticed at the end of the pass."""
    _, net, state = _made("mono-forward", digits)
    replica = Replica(Ranks(0, 2, torch.device("cpu")), net, state)
    for change, differs in (("", False), ("net.blocks.0.linear.weight", True)):

        def gather(self: Ranks, value: dict[str, str], change: str = change) -> list[dict[str, str]]:
            return [value, {name: "other" if name == change else each for name, each in value.items()}]

        monkeypatch.setattr(Ranks, "gather", gather)
        if differs:
            assert change in replica._known
            with pytest.raises(UsageError, match=f"ranks 0 and 1 differ in {change} after the same steps"):
                replica.check_equal()
        else:
            replica.check_equal()
