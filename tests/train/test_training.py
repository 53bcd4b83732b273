"""The training loop: phases, best states, divergence, schedules, what it may see."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from scripted_validation import learned

from bpfree.algorithms import Backprop, ForwardForward, MonoForward
from bpfree.data import TestSplitError, from_arrays
from bpfree.errors import UsageError
from bpfree.nets import Chain, ModuleBlock, mlp
from bpfree.numerics.streams import stream_key
from bpfree.rulesets.schema import LrSchedule
from bpfree.testing.bench import blobs
from bpfree.train import LR_SCHEDULES, Patience, evaluate, initialise, training
from bpfree.train.passes import Losses, mean_loss, seeded  # pyright: ignore[reportPrivateUsage]
from tests.patched import replace_learn

STAGED = MonoForward(lr=0.01, schedule="staged")


def run(algorithm, net, data, stop, **options) -> list:
    return list(training(algorithm, net, data, stop, batch_size=40, **options))


def test_one_progress_for_each_pass(data, net) -> None:
    passes = run(Backprop(lr=0.01), net, data, Patience(None, 4))
    assert [each.passes for each in passes] == [1, 2, 3, 4]
    assert all(0.0 <= each.val_accuracy <= 1.0 and each.value == each.val_accuracy for each in passes)
    assert all(math.isfinite(each.train_loss) and each.val_loss is None for each in passes)
    assert [each.time_s for each in passes] == sorted(each.time_s for each in passes)
    assert 0 < passes[-1].eval_time_s < passes[-1].time_s
    assert passes[-1].train_loss < passes[0].train_loss
    assert passes[0].joules is None


def test_the_mean_loss_weighs_a_ragged_batch_by_its_size(data, net) -> None:
    """168 examples in batches of 100 and 68, and a learning rate that moves nothing: the loss of the whole split."""
    (progress,) = training(Backprop(lr=1e-30), net, data, Patience(None, 1), batch_size=100)
    batch = next(data.batches("train", data.n("train"), shuffle=False))
    whole = torch.nn.functional.cross_entropy(net(batch.x), batch.y)
    assert progress.train_loss == pytest.approx(float(whole.detach()), rel=1e-5)


def test_the_best_state_is_restored_at_the_end(data, net, script) -> None:
    scripted = script(0.5, 0.9, 0.7, 0.8, 0.6)
    passes = run(Backprop(lr=0.01), net, data, Patience(3, 40))
    assert len(passes) == 5
    assert [each.improved for each in passes] == [True, True, False, False, False]
    assert len(set(scripted.seen)) == 5
    assert learned(net, passes[-1].state) == scripted.seen[1]


def test_the_first_of_equal_states_is_kept(data, net, script) -> None:
    scripted = script(0.5, 0.9, 0.9, 0.9)
    passes = run(Backprop(lr=0.01), net, data, Patience(None, 4))
    assert learned(net, passes[-1].state) == scripted.seen[1]


def test_without_restoring_the_last_state_stays(data, net, script) -> None:
    scripted = script(0.5, 0.9, 0.7)
    passes = run(Backprop(lr=0.01), net, data, Patience(None, 3, restore_best=False))
    assert learned(net, passes[-1].state) == scripted.seen[2]


def test_heads_are_restored_with_the_net(data, net, script) -> None:
    """The projection of an early block is in the state, not in the net."""
    scripted = script(0.9, 0.1)
    passes = run(MonoForward(lr=0.01), net, data, Patience(None, 2))
    assert learned(net, passes[-1].state) == scripted.seen[0]


def test_phases_share_the_cap_and_patience_starts_afresh(data, net, script) -> None:
    """Cap 7, two phases: the first may use 4; patience ends it after 3; the second gets the 4 that are left."""
    script(0.9, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5)
    passes = run(STAGED, net, data, Patience(2, 7))
    assert [each.phase.index for each in passes] == [0, 0, 0, 1, 1, 1, 1]
    assert [each.best for each in passes][2:4] == [0.9, 0.2]
    assert [each.improved for each in passes] == [True, False, False, True, True, True, True]


def test_every_phase_ends_at_its_own_best_state(data, net, script) -> None:
    scripted = script(0.9, 0.1, 0.8, 0.2)
    seen = []
    for progress in training(STAGED, net, data, Patience(None, 4), batch_size=40):
        seen.append({name: p.detach().clone() for name, p in progress.net.named_parameters()})
    assert learned(net, progress.state) == scripted.seen[2]
    # Block 0 froze at its best pass, and the second phase began from there.
    first = [each["blocks.0.linear.weight"] for each in seen]
    assert torch.equal(first[1], first[0])  # restored as the phase closed
    assert torch.equal(first[3], first[0])


def test_fewer_passes_than_phases_are_refused(data) -> None:
    """A phase without a pass would leave its part of the net as it was drawn."""
    net = mlp(data.in_shape, (8, 6, 5), 4)
    with pytest.raises(UsageError, match=r"3 phases \(.*\), each of at least one pass, but max_passes is 2; use --max-passes 3"):
        run(STAGED, net, data, Patience(5, 2))
    assert len(run(STAGED, net, data, Patience(5, 1, per_phase=True))) == 3


def test_per_phase_caps(data, net, script) -> None:
    script(*[0.5] * 6)
    passes = run(STAGED, net, data, Patience(None, 3, per_phase=True))
    assert [each.phase.index for each in passes] == [0, 0, 0, 1, 1, 1]
    assert [each.passes for each in passes] == [1, 2, 3, 4, 5, 6]


def test_the_loss_can_be_watched(data, net, script) -> None:
    scripted = script(1.0, 0.4, 0.7)
    passes = run(Backprop(lr=0.01), net, data, Patience(None, 3, metric="validation-loss"))
    assert [each.value for each in passes] == [1.0, 0.4, 0.7]
    assert [each.val_loss for each in passes] == [1.0, 0.4, 0.7]
    assert passes[-1].best == 0.4
    assert learned(net, passes[-1].state) == scripted.seen[1]


def _poison(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """From pass ``at`` on, every step leaves NaN in the net and in its loss."""
    honest, calls = Backprop.learn, []

    def step(self, net, state, batch, phase):
        loss = honest(self, net, state, batch, phase)
        calls.append(1)
        if len(calls) > 5 * (at - 1):  # 168 examples in batches of 40: five steps a pass
            net.output.weight.detach().fill_(math.nan)
            return loss * math.nan
        return loss

    replace_learn(monkeypatch, Backprop, step)


@pytest.mark.parametrize("restore_best", [True, False])
def test_a_loss_that_is_nan_ends_the_run_in_its_best_state(data, net, script, monkeypatch, restore_best: bool) -> None:
    _poison(monkeypatch, at=4)
    scripted = script(0.5, 0.9, 0.7, 0.99, 0.99, 0.99)
    passes = run(Backprop(lr=0.01), net, data, Patience(None, 6, restore_best=restore_best))
    assert [each.diverged for each in passes] == [False, False, False, True]
    assert not passes[-1].improved
    assert passes[-1].entry.train_loss is None
    assert passes[-1].entry.val_accuracy is None
    assert learned(net, passes[-1].state) == scripted.seen[1 if restore_best else 2]


def test_a_run_that_diverges_at_once_keeps_its_initial_state(data, net, monkeypatch) -> None:
    _poison(monkeypatch, at=1)
    state = initialise(Backprop(lr=0.01), net, 0)
    before = learned(net, state)
    passes = run(Backprop(lr=0.01), net, data, Patience(None, 6), state=state)
    assert [each.diverged for each in passes] == [True]
    assert learned(net, state) == before


def test_a_real_explosion_is_seen(data, net) -> None:
    rule = Backprop(lr=1e30, optimiser="sgd", momentum=0.0)
    passes = run(rule, net, data, Patience(None, 6))
    assert passes[-1].diverged
    assert all(value.isfinite().all() for value in net.state_dict().values())


def test_hours_end_a_run_with_its_best_state(data, net, script) -> None:
    class Clock:
        now_s = 0.0

        def elapsed_s(self) -> float:
            self.now_s += 900.0
            return self.now_s

        def joules_so_far(self) -> float:
            return 2.0 * self.now_s

    scripted = script(0.9, *[0.1] * 20)
    passes = run(STAGED, net, data, Patience(None, 20, max_hours=1.5), clock=Clock())
    assert passes[-1].time_s >= 5400 > passes[-2].time_s
    assert {each.phase.index for each in passes} == {0}
    assert passes[-1].joules == 2.0 * passes[-1].time_s
    assert passes[-1].eval_time_s == 900.0 * len(passes)
    assert learned(net, passes[-1].state) == scripted.seen[0]


@pytest.mark.parametrize("algorithm", [Backprop(), STAGED, ForwardForward()], ids=lambda rule: rule.name)
def test_the_same_seed_is_bitwise_the_same_training(algorithm, data) -> None:
    ends = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(ends))  # where torch's own generator stands does not matter
        net = mlp(data.in_shape, (8, 6), data.n_classes)
        passes = run(algorithm, net, data, Patience(None, 4), seed=seed)
        ends.append((learned(net, passes[-1].state), [each.train_loss for each in passes]))
    assert ends[0] == ends[1]
    assert ends[0][0] != ends[2][0]


def test_the_test_split_cannot_be_reached(data, net) -> None:
    """Training needs no test split, and a view without it has no way to one."""
    state = run(Backprop(), net, data, Patience(None, 1))[-1].state
    with pytest.raises(TestSplitError):
        evaluate(Backprop(), net, state, data, "test", Backprop().phases(net)[0])


def test_which_batches_are_asked_for(net) -> None:
    """Train and validation only; the order of a pass depends on the seed and the number of passes over all phases."""
    whole, asked = blobs(240), []

    class Spied(type(whole)):
        def batches(self, split, size, **options):
            asked.append((split, size, options.get("pass_index"), options.get("seed")))
            return super().batches(split, size, **options)

    spied = Spied(**{field.name: getattr(whole, field.name) for field in dataclasses.fields(whole)})
    run(STAGED, net, spied, Patience(None, 4), seed=7)
    assert {split for split, *_ in asked} == {"train", "validation"}
    assert [each for each in asked if each[0] == "train"] == [("train", 40, k, 7) for k in range(4)]


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear-cooldown", [1.0, 1.0, 1.0, 0.5]),  # 2 (4 - e) / 4 at passes done e = 0 .. 3, at most 1
        ("cosine", [1.0, 0.8535534, 0.5, 0.1464466]),
    ],
)
def test_learning_rate_schedules(data, net, name: str, factors: list[float]) -> None:
    rates = []
    for progress in training(Backprop(lr=0.5), net, data, Patience(None, 4), batch_size=40, lr_schedule=name):
        rates.append(float(progress.state.optimiser.lr_now) / 0.5)
    assert rates == pytest.approx(factors)


def test_a_schedule_runs_over_each_phase_anew(data, net) -> None:
    rates = []
    for progress in training(STAGED, net, data, Patience(None, 4), batch_size=40, lr_schedule="cosine"):
        rates.append(float(progress.state.slot(progress.phase.index).optimiser.lr_now) / STAGED.lr)
    assert rates == pytest.approx([1.0, 0.5, 1.0, 0.5])


def test_each_phase_may_have_a_stop_rule_of_its_own(data, net, script) -> None:
    """The first block to its cap of 4 whatever validation says, the second until one pass brought nothing."""
    script(0.5, 0.4, 0.3, 0.2, 0.5, 0.4)
    rules = {0: Patience(None, 8, own_cap=4), 1: Patience(1, 8)}
    passes = run(STAGED, net, data, lambda phase: rules[phase.index])
    assert [each.phase.index for each in passes] == [0, 0, 0, 0, 1, 1]


def test_a_rule_with_a_schedule_of_its_own_is_refused(data, net) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Cooling(Backprop):
        def learn(self, net, state, batch, phase):
            state.scale_lr(0.9)
            return super().learn(net, state, batch, phase)

    with pytest.raises(UsageError, match=r"changed its learning rate by itself.*open to every arm or to none"):
        run(Cooling(lr=0.01), net, data, Patience(None, 2))


def test_schedules_begin_at_one_and_stay_positive() -> None:
    for schedule in LR_SCHEDULES.values():
        factors = [schedule(passes, 10) for passes in range(10)]
        assert factors[0] == 1.0
        assert factors == sorted(factors, reverse=True)
        assert factors[-1] > 0.0


def test_a_net_for_other_data_is_refused(data) -> None:
    for net in (mlp(7, (8,), 4), mlp(data.in_shape, (8,), 5)):
        with pytest.raises(UsageError, match="build the net for the data"):
            run(Backprop(), net, data, Patience(None, 1))


def test_a_rule_that_cannot_train_the_net_is_refused() -> None:
    tiny = from_arrays(torch.zeros(24, 1, 2, 2), torch.arange(24) % 4).without_test()
    with pytest.raises(UsageError, match="label pixels"):
        run(ForwardForward(), mlp((1, 2, 2), (8,), 4), tiny, Patience(None, 1))


class Nudging(MonoForward):
    """Changes the net when a pass ends, as a closed form or a fold does."""

    def close(self, net, state, phase) -> None:
        super().close(net, state, phase)
        net.output.weight.detach().add_(1.0 + phase.index)


def test_what_the_end_of_a_pass_changes_is_part_of_the_state_that_the_next_phase_restores(data, net, script) -> None:
    """The second phase has no finite value, so it ends in the state that the first has left, its closing included."""
    scripted = script(0.5, math.nan)
    rule = Nudging(lr=0.01, schedule="staged")
    progresses = training(rule, net, data, Patience(None, 2), batch_size=40)
    first = next(progresses)
    assert learned(net, first.state) == scripted.seen[0]  # closed before it is scored, and restored so
    output = net.output.weight.detach().clone()
    next(progresses)
    assert torch.equal(net.output.weight.detach(), output)


class Drawing(torch.nn.Module):
    """Draws from torch's generator while training, as dropout does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.draws = torch.nn.Linear(width, 5), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.draws.append(float(torch.rand(())))
        return self.linear(x.flatten(1))


def test_a_users_module_draws_other_numbers_in_every_pass_the_same_in_every_run(data) -> None:
    def draws(seed: int) -> list[float]:
        module = Drawing(math.prod(data.in_shape))
        net = Chain([ModuleBlock(data.in_shape, module)], data.n_classes)
        run(Backprop(lr=0.01), net, data, Patience(None, 3), seed=seed)
        return module.draws[-15:]  # three passes of five steps; a block may be tried once beforehand

    first = draws(1)
    assert len(set(first)) == 15
    assert draws(1) == first
    assert draws(2) != first


def test_the_schedules_are_those_that_a_ruleset_can_ask_for() -> None:
    assert tuple(LR_SCHEDULES) == get_args(LrSchedule)


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear-cooldown", [1.0, 1.0, 1.0, 0.5]),
        ("cosine", [1.0, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4]),
    ],
)
def test_the_factors_of_a_phase_of_four_passes(name: str, factors: list[float]) -> None:
    assert [LR_SCHEDULES[name](passes, 4) for passes in range(4)] == pytest.approx(factors)


def test_a_pass_is_seeded_as_by_torch_and_leaves_the_callers_generator() -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(stream_key(5, 2))
        theirs = torch.rand(4)
        torch.manual_seed(8)
        torch.rand(3)
        following = torch.random.get_rng_state()
        work: Any = SimpleNamespace(seed=5, net=SimpleNamespace(device=torch.device("cpu")))
        with seeded(work, 2):
            assert torch.equal(torch.rand(4), theirs)
        assert torch.equal(torch.random.get_rng_state(), following)
        with pytest.raises(ZeroDivisionError), seeded(work, 2):
            torch.rand(9)
            _ = 1 / 0
        assert torch.equal(torch.random.get_rng_state(), following)


def test_losses_of_a_pass_by_value() -> None:
    """Two blocks: the means are 2, 4 and 9, of 3, 3 and 1 examples; what a step overwrites afterwards does not count."""
    row, losses = torch.zeros(2), Losses()
    for values in ([1.0, 3.0], [4.0, 4.0]):
        losses.add(row.copy_(torch.tensor(values)))
    losses.add(torch.tensor(9.0))
    assert losses.mean([3, 3, 1]) == pytest.approx(27 / 7, rel=1e-15)
    assert [float(each) for each in losses.tensors()] == [2.0, 4.0, 9.0]
    again = Losses(losses.tensors()[:2])  # as after a checkpoint
    again.add(torch.tensor([[8.0, 10.0]]))
    assert again.mean([3, 3, 1]) == pytest.approx(27 / 7, rel=1e-15)
    assert mean_loss(losses.tensors(), [3, 3, 1]) == pytest.approx(27 / 7, rel=1e-15)
    losses.add(torch.tensor([math.nan, 1.0]))
    assert math.isnan(losses.mean([3, 3, 1, 1]))
