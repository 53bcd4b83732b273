"""Checks of where a rule's tensors live, and of starting again: reset, load, another process, a compiler."""

from __future__ import annotations

import contextlib
import dataclasses
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Optimiser, numeric, reset
from bpfree.testing._setting import ContractSetting
from bpfree.testing.bench import RuleOnNet, fingerprint
from bpfree.testing.elsewhere import trained_elsewhere, trained_here
from bpfree.train import Replay, can_replay, checkpoint

__all__ = ["Persistence"]

COMPILED: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
"""What a compiler's own order of operations explains after a step in float32, and after the next two."""

ZERO = 1e-6
"""Of the largest gradient of a step: what is smaller is the rounding of a sum in float32 whose terms cancel."""

LONGEST_STEP = 7.0
"""In learning rates: how far apart two steps of Adam may end, each at most (1 − β₁) / √(1 − β₂) = 3.2 long."""


def _addresses(bench: RuleOnNet) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in bench.tensors().items()}


def _bitwise(now: RuleOnNet, expected: RuleOnNet, what: str) -> None:
    ours, theirs = now.tensors(), expected.tensors()
    assert ours.keys() == theirs.keys()
    unlike = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not unlike, f"{what}: {unlike[0]} is not bitwise the same"


class Persistence(ContractSetting):
    """Addresses, reset, checkpoints, other processes, compilation."""

    def test_addresses_stay(self, algorithm: Algorithm, block_kind: str, tmp_path: Path) -> None:
        """Every parameter and buffer keeps its storage over steps, ``close``, ``reset`` and the loading of a checkpoint."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind))
        before = _addresses(bench)
        bench.all_phases([8, 8, 5])
        assert _addresses(bench) == before, "a step rebinds a tensor; write into it instead (add_, copy_)"
        path = tmp_path / "checkpoint.safetensors"
        snapshot = checkpoint.Snapshot(bench.net, bench.state)
        checkpoint.save(path, bench.net, bench.state, snapshot, {})
        reset(algorithm, bench.net, bench.state, torch.Generator().manual_seed(1))
        assert _addresses(bench) == before, "reset moves a tensor"
        checkpoint.load(path, bench.net, bench.state, snapshot)
        snapshot.restore()
        assert _addresses(bench) == before, "loading a checkpoint moves a tensor"

    def test_state_is_registered(self, algorithm: Algorithm, block_kind: str) -> None:
        """All that a rule learns is a parameter or a buffer: a copy by ``state_dict`` goes on bitwise."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind))
        bench.all_phases([8, 8])
        copied = RuleOnNet.start(algorithm, bench.net, seed=5)
        copied.net.load_state_dict(bench.net.state_dict())
        copied.state.load_state_dict(bench.state.state_dict())
        for each in (bench, copied):
            each.steps([8, 5], first=20)
        _bitwise(copied, bench, "after a copy by state_dict")

    def test_reset_is_a_fresh_start(self, algorithm: Algorithm, block_kind: str) -> None:
        """After ``reset`` everything is bitwise as ``init`` makes it, and trains so."""
        net = self.make_net(block_kind)
        used, fresh = RuleOnNet.start(algorithm, net), RuleOnNet.start(algorithm, net, seed=4)
        used.all_phases([8, 8])
        reset(algorithm, used.net, used.state, torch.Generator().manual_seed(4))
        _bitwise(used, fresh, "after reset")
        for bench in (used, fresh):
            bench.all_phases([8, 5])
        _bitwise(used, fresh, "trained after reset")

    def test_reset_takes_the_new_trials_hyper_parameters(self, algorithm: Algorithm) -> None:
        """Each numeric hyper-parameter of another instance takes effect through ``reset``, as through a fresh ``init``."""
        net = self.make_net()
        for name, value in numeric(algorithm).items():
            trial = dataclasses.replace(algorithm, **{name: value / 2 if value else 0.25})
            used, fresh = RuleOnNet.start(algorithm, net), RuleOnNet.start(trial, net, seed=4)
            used.all_phases([8])
            reset(trial, used.net, used.state, torch.Generator().manual_seed(4))
            used.algorithm = trial
            for bench in (used, fresh):
                bench.all_phases([8, 5])
            _bitwise(used, fresh, f"{name} = {getattr(trial, name)} after reset")

    def test_every_numeric_hyper_parameter_matters(self, algorithm: Algorithm) -> None:
        """Another value gives another training: no hyper-parameter is taken and forgotten."""
        net = self.make_net()
        matters_with = {"momentum": {"optimiser": "sgd"}, **self.matters_with}
        for name, value in numeric(algorithm).items():
            rule = dataclasses.replace(algorithm, **matters_with.get(name, {}))
            other = dataclasses.replace(rule, **{name: value / 2 if value else 0.25})
            ends = []
            for each in (rule, other):
                bench = RuleOnNet.start(each, net)
                bench.all_phases([8, 8])
                ends.append(fingerprint(dict(bench.parameters())))
            assert ends[0] != ends[1], f"{name} = {value} and {getattr(other, name)} train alike"

    def test_save_load_continue(self, algorithm: Algorithm, block_kind: str, tmp_path: Path) -> None:
        """Saved, loaded into a net and state of another seed, and continued: bitwise the uninterrupted training."""
        net, path = self.make_net(block_kind), tmp_path / "checkpoint.safetensors"
        whole, again = RuleOnNet.start(algorithm, net), RuleOnNet.start(algorithm, net, seed=9)
        again.all_phases([8])
        for phase in whole.phases:
            whole.steps([8, 8], phase=phase)
            checkpoint.save(path, whole.net, whole.state, None, {"mark": phase.index})
            header = checkpoint.load(path, again.net, again.state, None)
            assert header["mark"] == phase.index
            for bench in (whole, again):
                bench.steps([8, 5], first=10, phase=phase)
                algorithm.close(bench.net, bench.state, phase)
            _bitwise(again, whole, "continued from a checkpoint")

    def test_same_seed_in_another_process(self, algorithm: Algorithm) -> None:
        """The same seed gives the same bits in a process that hashes strings in another way."""
        net = self.make_net()
        assert trained_elsewhere(algorithm, net) == trained_here(algorithm, net)

    def test_repeated_steps_are_the_steps(self, algorithm: Algorithm) -> None:
        """Of a rule that says so (``replays``): on a processor its steps are repeated from a list, with the same bits."""
        net = self.make_net()
        alone, repeated = RuleOnNet.start(algorithm, net), RuleOnNet.start(algorithm, net)
        replay = Replay(algorithm, repeated.net, repeated.state)
        if not can_replay(algorithm, repeated.net):
            return
        for phase in alone.phases:
            for k, size in enumerate((8, 8, 8, 8, 8, 5, 8, 8)):
                if k == 5:
                    alone.state.scale_lr(0.5)
                    repeated.state.scale_lr(0.5)
                expected = alone.step(alone.batch(size, k), phase)
                given = replay(repeated.batch(size, k), phase)
                assert torch.equal(given, expected), f"step {k + 1} of {phase.name}: its losses are not those of the rule's step"
                _bitwise(repeated, alone, f"step {k + 1} of {phase.name}, repeated from a list")
            for bench in (alone, repeated):
                algorithm.close(bench.net, bench.state, phase)

    def test_compiled_equals_eager(self, algorithm: Algorithm) -> None:
        """``learn`` compiles as one graph, once: not again for another batch, learning rate or trial; its results agree."""
        from torch._dynamo.testing import CompileCounterWithBackend  # deferred: it takes seconds, and only this needs it

        net = self.make_net()
        eager, compiled = RuleOnNet.start(algorithm, net), RuleOnNet.start(algorithm, net)
        addresses = _addresses(compiled)
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("aot_eager")
        learn = torch.compile(type(algorithm).learn, backend=counter, fullgraph=True)
        phase = eager.last_phase
        trial = dataclasses.replace(algorithm, lr=algorithm.lr / 3, weight_decay=algorithm.weight_decay / 2)

        def both_step(rule: Algorithm, number: int) -> None:
            with gradients_recorded() as gradients:
                ours = rule.learn(eager.net, eager.state, eager.batch(8, number), phase)
            theirs = learn(rule, compiled.net, compiled.state, compiled.batch(8, number), phase)
            torch.testing.assert_close(theirs, ours, **COMPILED)
            _close_enough(compiled, eager, gradients)

        with _autograd_traced(), torch.no_grad():
            for rule in (algorithm, trial):
                if rule is trial:
                    for bench in (eager, compiled):
                        reset(trial, bench.net, bench.state, torch.Generator().manual_seed(1))
                for k in range(3):
                    both_step(rule, k)
            eager.state.scale_lr(0.5)
            compiled.state.scale_lr(0.5)
            both_step(trial, 4)
        assert counter.frame_count == 1, f"compiled {counter.frame_count} times; one is expected"
        assert _addresses(compiled) == addresses
        torch._dynamo.reset()


def _close_enough(compiled: RuleOnNet, eager: RuleOnNet, gradients: list[tuple[Tensor, Tensor]]) -> None:
    """All tensors agree, each entry by itself; where a gradient is zero but for rounding, the compiled entry is then set to the
    eager one.

    Adam divides a gradient by its own size. Where the true gradient is zero, that is rounding by rounding: two orders of a sum
    give steps of any sign, up to a few learning rates long. Such an entry may differ by so much, and no other.
    """
    noise = _noise(gradients)
    theirs = compiled.tensors()
    rates = [float(optimiser.lr_now) for optimiser in eager.state.optimisers()]
    for name, expected in eager.tensors().items():
        value, free = theirs[name], noise.get(expected.data_ptr())
        if free is not None and bool(free.any()):
            longest = float((value - expected)[free].abs().max())
            assert longest <= LONGEST_STEP * max(rates), f"compiled: {name}: differs by {longest:.3g} where its gradient is zero"
            value[free] = expected[free]
        torch.testing.assert_close(value, expected, **COMPILED, msg=lambda text, name=name: f"compiled: {name}: {text}")


def _noise(gradients: list[tuple[Tensor, Tensor]]) -> dict[int, Tensor]:
    """By the address of a parameter, which entries of its gradient are zero but for rounding, beside the largest of the step."""
    largest = max((float(gradient.abs().max()) for _, gradient in gradients if gradient.numel()), default=0.0)
    return {parameter.data_ptr(): gradient.abs() <= ZERO * largest for parameter, gradient in gradients}


@contextlib.contextmanager
def gradients_recorded() -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Within the block, the list gets each parameter that an optimiser steps, with its gradient, copied."""
    recorded: list[tuple[Tensor, Tensor]] = []
    step = Optimiser.step

    def recording(self: Optimiser, parameters: list[Tensor], gradients: list[Tensor], first: int = 0) -> None:
        recorded.extend((parameter, gradient.clone()) for parameter, gradient in zip(parameters, gradients, strict=True))
        step(self, parameters, gradients, first)

    with unittest.mock.patch.object(Optimiser, "step", recording):
        yield recorded


def _autograd_traced() -> contextlib.AbstractContextManager[object]:
    """Let the compiler trace ``torch.autograd.grad`` (inside a block without closed form), where this torch can."""
    if not hasattr(torch._dynamo.config, "trace_autograd_ops"):
        return contextlib.nullcontext()
    return torch._dynamo.config.patch(trace_autograd_ops=True)
