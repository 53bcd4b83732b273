"""Checks of what a rule computes."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Backprop, BlockGradients, maths_used
from bpfree.data import Batch, load
from bpfree.errors import UsageError
from bpfree.testing import golden
from bpfree.testing._setting import ContractSetting
from bpfree.testing.bench import RuleOnNet, blobs, make_batch
from bpfree.train import Patience, fit

__all__ = ["Mathematics"]

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
"""What rounding alone explains after a few steps in float64."""

ROUNDING: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}
"""What another order of a sum explains within one step in float64."""

SLACK = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 0.05}
"""How far a loss may lie from the same loss in float64 (relative), by number format."""


def _close(now: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, **tolerance: Any) -> None:
    assert now.keys() == expected.keys()
    for name, value in now.items():
        torch.testing.assert_close(value, expected[name], **tolerance, msg=lambda text, name=name: f"{what}: {name}: {text}")


def _by_maths(algorithm: Algorithm) -> Iterator[tuple[str, Algorithm]]:
    """The rule with the closed form, and with autograd if it is one that takes gradients inside blocks."""
    if not isinstance(algorithm, BlockGradients):
        return
    for maths in ("auto", "autograd"):
        try:
            yield maths, dataclasses.replace(algorithm, maths=maths)
        except UsageError:  # this setting of the rule takes no such gradient, and refuses to be asked for autograd
            assert maths == "autograd"


class Mathematics(ContractSetting):
    """Closed forms, golden numbers, theorems, reduction over a batch, number formats, learning."""

    def test_closed_form_equals_autograd(self, algorithm: Algorithm, closed_kind: str) -> None:
        """The same steps with the closed form and with autograd inside the blocks: all that is learned agrees to 1e-9."""
        net = self.make_net(closed_kind).double()
        ends = []
        for maths, rule in _by_maths(algorithm):
            bench = RuleOnNet.start(rule, net)
            assert maths_used(rule, net) == {"auto": "closed", "autograd": "autograd"}[maths]
            losses = bench.all_phases([8, 8, 5, 1])
            ends.append({**bench.values(), **{f"loss {k}": loss for k, loss in enumerate(losses)}})
        for other in ends[1:]:
            _close(ends[0], other, "closed form and autograd differ", **EXACT)

    def test_golden_trajectory(self, algorithm: Algorithm) -> None:
        """Five steps give the numbers that were written down (``python -m bpfree.testing.golden``)."""
        path = self.golden_folder() / golden.file_name(algorithm)
        if not path.exists():
            pytest.fail(f"there is no golden trajectory {path}; write it with: {self._regenerate(algorithm)}")
        changes = golden.differences(json.loads(path.read_text()), golden.trajectory(algorithm))
        assert not changes, f"{path.name} no longer holds ({changes[0]}); if that is meant: {self._regenerate(algorithm)}"

    def _regenerate(self, algorithm: Algorithm) -> str:
        return f"python -m bpfree.testing.golden {self.golden_folder()} {golden.words_of(algorithm)}"

    @pytest.mark.filterwarnings("ignore:.*too few to learn at usual learning rates")
    @pytest.mark.parametrize("task", ["blobs", "digits"])
    def test_learns_an_easy_task(self, algorithm: Algorithm, task: str) -> None:
        """Validation accuracy on separated blobs and on 500 digits is above the stated floor."""
        data = blobs() if task == "blobs" else load("digits").limited(500)
        rule = dataclasses.replace(algorithm, **self.easy_params)
        net = self.make_net(in_shape=data.in_shape, widths=(64, 64), n_classes=data.n_classes)
        stop = Patience(None, max_passes=self.easy_passes * len(rule.phases(net)))
        result = fit(rule, net, data.without_test(), stop, batch_size=32)
        assert result.status == "ok"
        assert result.val_accuracy is not None
        assert result.val_accuracy >= self.floors[task], (
            f"validation accuracy {result.val_accuracy:.4f} on {task}, at least {self.floors[task]} is asked; set "
            "``easy_params`` or ``easy_passes`` of the test class, or lower ``floors`` and say why"
        )

    def test_equals_backprop_where_theory_says_so(self, algorithm: Algorithm) -> None:
        """On :meth:`backprop_twin` the rule and backprop do the same steps, the output's bias held at zero."""
        net = self.backprop_twin()
        if net is None:
            return
        stepped = dataclasses.replace(algorithm, optimiser="sgd", lr=0.1)  # Adam would forgive a gradient of another length
        shared: dict[str, Any] = {key: getattr(stepped, key) for key in ("lr", "weight_decay", "optimiser", "momentum")}
        shared |= {"maths": stepped.maths} if isinstance(stepped, BlockGradients) else {}
        rule, backprop = RuleOnNet.start(stepped, net.double()), RuleOnNet.start(Backprop(**shared), net.double())
        backprop.net.load_state_dict(rule.net.state_dict())
        for k, n in enumerate((8, 8, 5, 1)):
            ours, theirs = rule.step(rule.batch(n, k)), backprop.step(backprop.batch(n, k))
            for bench in (rule, backprop):
                bench.net.output.bias.detach().zero_()
            torch.testing.assert_close(ours[-1:], theirs[-1:], **EXACT)
            _close(rule.net.state_dict(), backprop.net.state_dict(), f"step {k + 1} is not backprop's", **EXACT)

    def test_order_within_a_batch_does_not_matter(self, algorithm: Algorithm, block_kind: str) -> None:
        """Two classes, so that a wrong label, drawn by its place in the batch, can be but one."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind, n_classes=2).double())
        twin, batch = bench.copy(), bench.batch(9)
        order = torch.tensor([4, 0, 8, 2, 6, 1, 7, 5, 3])
        bench.step(batch)
        twin.step(Batch(make_batch(9, n_classes=2).x[order], batch.y[order], batch.key))
        _close(dict(twin.parameters()), dict(bench.parameters()), "another order, another update", **ROUNDING)

    def test_ragged_batch_keeps_mean_semantics(self, algorithm: Algorithm, block_kind: str) -> None:
        """The update by a batch is the weighted mean of the updates by its parts (one step of SGD; two classes, as above)."""
        rule = dataclasses.replace(algorithm, optimiser="sgd")
        start = RuleOnNet.start(rule, self.make_net(block_kind, n_classes=2).double())
        x, y, key = (lambda b: (b.x, b.y, b.key))(start.batch(10))
        before = {name: value.clone() for name, value in start.parameters()}

        def update(part: slice) -> dict[str, Tensor]:
            bench = start.copy()
            bench.step(Batch(x[part].clone(), y[part], key))
            return {name: value - before[name] for name, value in bench.parameters()}

        whole, first, rest = update(slice(0, 10)), update(slice(0, 7)), update(slice(7, 10))
        mean = {name: 0.7 * first[name] + 0.3 * rest[name] for name in whole}
        _close(whole, mean, "not the weighted mean of its parts", **ROUNDING)

    def test_one_example_is_a_batch(self, algorithm: Algorithm, block_kind: str) -> None:
        """A last batch of one example gives finite losses, at most one for each learning block."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind))
        for phase in bench.phases:
            loss = bench.step(bench.batch(1), phase)
            assert loss.dim() == 1
            assert 1 <= len(loss) <= max(len(phase.learning), 1)
            assert loss.isfinite().all()
        assert all(value.isfinite().all() for value in bench.tensors().values())

    def test_dtype_is_kept_and_sums_are_wide(self, algorithm: Algorithm, block_kind: str, dtype: torch.dtype) -> None:
        """Parameters keep their number format; losses come in float32 at least, and near those in float64."""
        net = self.make_net(block_kind, in_shape=(300,), widths=(256, 128), n_classes=10).to(dtype)
        bench = RuleOnNet.start(algorithm, net)
        wide = RuleOnNet.start(algorithm, copy.deepcopy(net).double())
        for name, value in wide.tensors().items():  # buffers too: a fixed random matrix is drawn otherwise in another format
            value.copy_(bench.tensors()[name])
        before = {name: value.dtype for name, value in bench.tensors().items()}
        batch = bench.batch(64)
        expected = wide.step(Batch(batch.x.double(), batch.y, batch.key))
        loss = bench.step(Batch(batch.x.clone(), batch.y, batch.key))
        assert loss.dtype in (torch.float32, torch.float64), (
            f"learn returned losses in {str(loss.dtype).removeprefix('torch.')}; take them in float32 or wider, as "
            "bpfree.numerics.losses does, or leave the format out of ``dtypes`` of the test class"
        )
        assert {name: value.dtype for name, value in bench.tensors().items()} == before
        assert all(value.dtype == dtype for _, value in bench.parameters())
        assert bench.algorithm.scores(bench.net, bench.state, batch.x, bench.last_phase).shape == (64, 10)
        torch.testing.assert_close(loss.double(), expected.double(), rtol=SLACK[dtype], atol=0.0)

    def test_scores_of_an_example_do_not_depend_on_its_company(self, algorithm: Algorithm, block_kind: str) -> None:
        """After every phase there are scores (n, classes), the same for a batch and for its examples one by one."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind).double())
        x = bench.batch(5, 50).x
        for phase in bench.phases:
            bench.steps([8, 8], phase=phase)
            algorithm.close(bench.net, bench.state, phase)
            before = bench.values()
            scores = algorithm.scores(bench.net, bench.state, x.clone(), phase)
            single = [algorithm.scores(bench.net, bench.state, x[k : k + 1].clone(), phase) for k in range(5)]
            assert scores.shape == (5, bench.net.n_classes)
            assert scores.isfinite().all()
            torch.testing.assert_close(scores, torch.cat(single), **EXACT)
            _close(bench.values(), before, "scoring changed something", rtol=0, atol=0)

    def test_loss_falls_on_one_batch(self, algorithm: Algorithm, block_kind: str) -> None:
        """Twenty-five steps on the same batch lower the loss of every block."""
        bench = RuleOnNet.start(dataclasses.replace(algorithm, **self.easy_params), self.make_net(block_kind))
        for phase in bench.phases:
            losses = [bench.step(bench.batch(16), phase) for _ in range(25)]
            assert (losses[-1] < losses[0]).all(), f"{losses[0].tolist()} became {losses[-1].tolist()}"
            assert math.isfinite(float(losses[-1].sum()))
